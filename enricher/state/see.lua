-- Sees some events of one key: remembers those that are new, and answers each with what its
-- windows held when it was first seen. `history.py` does the same in Python.
--
-- `spec`, before this text: what is measured (`script.py`)
-- KEYS[1]: a hash, the state of the key. Its events, in their order, are cut into pieces, so that a
-- key with many costs no more than one with few: an event writes the last piece, and reads those
-- that its windows need values of.
--   `=`    {2, newest time, {time, id} of the last that made room, last number given to a piece,
--          columns, a line each, events before the first piece, events forgotten,
--          numbers of the pieces, their sizes, their first times, the last piece}
--   `#N`   another piece: {times, ids, column, ...}, each of them one text
--   `:ID`  the first answer to an event, as JSON
-- All but the answers is MessagePack. A place is the number of an event among all of its key.
-- ARGV: the id, the time in us and the values of each event, '' for none
-- Answers: for each event the fields as JSON, or nothing where it comes too late
local key, width = KEYS[1], 2 + #spec.columns
local pack, unpacked = cmsgpack.pack, cmsgpack.unpack

local asked = {'='}
for at = 1, #ARGV, width do asked[#asked + 1] = ':' .. ARGV[at] end
local told = redis.pcall('HMGET', key, unpack(asked))
if told.err and told.err:sub(1, 9) ~= 'WRONGTYPE' then return told end
local is_sound, state = true, {2, 0, {0, ''}, 0, spec.names, 0, 0, {}, {}, {}}
if told[1] then
  is_sound, state = pcall(unpacked, told[1])
elseif not told.err then
  is_sound = redis.call('EXISTS', key) == 0
end
if told.err or not is_sound or type(state) ~= 'table' or state[1] ~= 2 then
  return redis.error_reply('NOSTATE what is stored here was not written by enricher')
end
local _, newest, floor, given, names, total, gone, numbers, sizes, heads, last = unpack(state)
local start, starts = total, {}
for n, size in ipairs(sizes) do starts[n], total = total, total + size end

local known, answers, lost = {}, {}, {}
for n = 2, #asked do known[ARGV[(n - 2) * width + 1]] = told[n] end

-- Pieces by their number, as texts and as lists; one is open: its places are `low` + 1 to `high`.
local texts, lists, changed = {}, {}, {}
if last then texts[numbers[#numbers]] = last end
local number, low, high

local function open(n)
  number, low, high = numbers[n], starts[n], starts[n] + sizes[n]
  if not lists[number] then
    texts[number] = texts[number] or unpacked(redis.call('HGET', key, '#' .. number))
    lists[number] = {}
  end
end

local function close()
  low, high = 0, 0
end
close()

-- A list of the open piece.
local function listed(list)
  local found = lists[number][list]
  if not found then
    found = {unpacked(texts[number][list])}
    lists[number][list] = found
  end
  return found
end

local function value(list, place)
  if place <= low or place > high then
    local n = #numbers
    while starts[n] >= place do n = n - 1 end
    open(n)
  end
  return listed(list)[place - low]
end

-- Makes the texts of the open piece of its lists.
local function write()
  for list = 1, width do texts[number][list] = pack(unpack(listed(list))) end
  changed[number] = true
end

if names ~= spec.names then
  local held, list = {}, 2
  for name in names:gmatch('[^\n]+') do
    list = list + 1
    held[name] = list
  end
  for n = 1, #numbers do
    open(n)
    local kept = {listed(1), listed(2)}
    for column, name in ipairs(spec.columns) do
      local values = {}
      for place = 1, sizes[n] do -- false where a field was not kept so far
        values[place] = held[name] and listed(held[name])[place] or false
      end
      kept[column + 2] = values
    end
    lists[number], texts[number] = kept, {}
    write()
  end
  close()
end

-- `<` of Lua goes by the server's language; ids are ordered by their bytes.
local function is_less(one, other)
  for place = 1, math.min(#one, #other) do
    local left, right = one:byte(place), other:byte(place)
    if left ~= right then return left < right end
  end
  return #one < #other
end

-- The last place up to `upper` that is not after a time.
local function until_time(time, upper)
  local n = #numbers
  while n > 0 and (heads[n] > time or starts[n] >= upper) do n = n - 1 end
  if n == 0 then return gone end
  open(n)
  local times, lower, at = listed(1), 1, math.min(high, upper) - low
  while lower < at do
    local middle = math.ceil((lower + at) / 2)
    if times[middle] <= time then lower = middle else at = middle - 1 end
  end
  return math.max(low + lower, gone)
end

local function forget(upper)
  for place = gone + 1, upper do
    local id = value(2, place)
    known[id], answers[id], lost[#lost + 1] = nil, nil, ':' .. id
  end
  gone = math.max(gone, upper)
  while numbers[1] and starts[1] + sizes[1] <= gone do
    start = starts[1] + sizes[1]
    changed[numbers[1]], lost[#lost + 1] = nil, '#' .. numbers[1]
    for _, list in ipairs({numbers, sizes, heads, starts}) do table.remove(list, 1) end
  end
  close()
  if numbers[1] then heads[1] = value(1, gone + 1) end
end

-- Makes and opens piece `n`, of lists with something in them.
local function add_piece(n, new)
  given = given + 1
  table.insert(numbers, n, given)
  table.insert(sizes, n, #new[1])
  table.insert(heads, n, new[1][1])
  table.insert(starts, n, n > 1 and starts[n - 1] + sizes[n - 1] or start)
  texts[given], lists[given] = {}, new
  open(n)
  write()
end

local function split(n)
  local second = {}
  for list = 1, width do
    local whole = listed(list)
    second[list] = {unpack(whole, spec.piece + 1)}
    for place = #whole, spec.piece + 1, -1 do whole[place] = nil end
  end
  sizes[n] = spec.piece
  write()
  add_piece(n + 1, second)
end

-- Puts an event, a value for each list, behind a place.
local function insert(place, event)
  local n = #numbers
  if n == 0 or place == total and sizes[n] >= spec.piece then
    local new = {}
    for list = 1, width do new[list] = {event[list]} end
    if n > 0 then changed[numbers[n]] = true end -- it is in `=` no more
    add_piece(n + 1, new)
    total = total + 1
    return close()
  end
  while n > 1 and starts[n] >= place do n = n - 1 end
  open(n)
  for list = 1, width do
    if place < high then
      table.insert(listed(list), place - low + 1, event[list])
    else
      local all = lists[number][list]
      if all then all[#all + 1] = event[list] end
      texts[number][list] = texts[number][list] .. pack(event[list])
    end
  end
  if place < high then write() end
  changed[number] = true
  sizes[n], heads[n], total = sizes[n] + 1, math.min(heads[n], event[1]), total + 1
  heads[1] = math.min(heads[1], event[1]) -- of the first piece all may be forgotten
  for later = n + 1, #starts do starts[later] = starts[later] + 1 end
  if sizes[n] >= 2 * spec.piece then split(n) end
  close()
end

-- Values of the events at the places after `lower` up to `upper` which have all columns, the newest
-- first, `most` of them.
local function values_of(of, lower, upper, most)
  local values, count = {}, 0
  while upper > lower and count < most do
    value(1, upper) -- opens its piece
    local first, second = listed(of[1]), of[2] and listed(of[2])
    local least = math.max(low, lower)
    while upper > least and count < most do
      local one = first[upper - low]
      if one ~= false and not (second and second[upper - low] == false) then
        count = count + 1
        values[count] = one
      end
      upper = upper - 1
    end
  end
  return values, count
end

local function measured(measure, lower, upper)
  local of, kind = measure.of, measure.kind
  if not of[1] then
    return upper - lower >= measure.at_least and string.format('%d', upper - lower)
  end
  local values, count = values_of(of, lower, upper, measure.last or upper - lower)
  if count < measure.at_least then return false end
  if kind == 'previous' then return values[1] or false end
  if kind == 'count' then return string.format('%d', count) end
  local sum, distinct, seen = 0, 0, {}
  for n = count, 1, -1 do
    local one = values[n]
    if kind ~= 'distinct' then
      sum = sum + one
    elseif not seen[one] then
      seen[one], distinct = true, distinct + 1
    end
  end
  if kind == 'distinct' then return string.format('%d', distinct) end
  if kind == 'mean' then sum = sum / count end
  return sum - sum == 0 and string.format('%.17g', sum)
end

local function answer_of(place, time)
  local fields = {}
  for _, measure in ipairs(spec.measures) do
    local upper = measure.before and place - 1 or place
    local lower = measure.within and until_time(time - measure.within, upper) or gone
    local found = measured(measure, lower, upper)
    if found then fields[#fields + 1] = measure.target .. found end
  end
  return '{' .. table.concat(fields, ',') .. '}'
end

local function see(event)
  local time, id = event[1], event[2]
  if time <= newest - spec.lateness then return false end
  if time < floor[1] or time == floor[1] and not is_less(floor[2], id) then return false end
  if time > newest then
    newest = time
    local oldest = time - spec.retention
    if heads[1] and heads[1] <= oldest then forget(until_time(oldest, total)) end
  end
  local place = until_time(time, total)
  while place > gone and value(1, place) == time and is_less(id, value(2, place)) do
    place = place - 1
  end
  local surplus = total - gone + 1 - spec.max_events
  if surplus > place - gone then return false end
  if surplus > 0 then
    floor = {value(1, gone + surplus), value(2, gone + surplus)}
    forget(gone + surplus)
  end
  insert(place, event)
  known[id] = answer_of(place + 1, time)
  answers[id] = known[id]
  return known[id]
end

-- A call takes no more than some thousands of arguments.
local function call(command, list)
  for n = 1, #list, 1000 do
    redis.call(command, key, unpack(list, n, math.min(n + 999, #list)))
  end
end

local found, is_new = {}, false
for at = 1, #ARGV, width do
  local answer = known[ARGV[at]]
  if not answer then
    local event = {tonumber(ARGV[at + 1]), ARGV[at]}
    for column, is_number in ipairs(spec.numbers) do
      local text = ARGV[at + 1 + column]
      event[column + 2] = text ~= '' and (is_number and tonumber(text) or text)
    end
    answer = see(event)
    is_new = is_new or answer
  end
  found[#found + 1] = answer
end
if is_new then
  local final = numbers[#numbers]
  local state =
    {2, newest, floor, given, spec.names, start, gone, numbers, sizes, heads, texts[final]}
  local written = {'=', pack(state)}
  for number in pairs(changed) do
    if number ~= final then
      written[#written + 1] = '#' .. number
      written[#written + 1] = pack(texts[number])
    end
  end
  for id, answer in pairs(answers) do
    written[#written + 1] = ':' .. id
    written[#written + 1] = answer
  end
  call('HDEL', lost)
  call('HSET', written)
  -- Not with every event: to write it costs as much as the rest.
  if redis.call('PTTL', key) < spec.expire - spec.slack then
    redis.call('PEXPIRE', key, spec.expire)
  end
end
return found
