-- Sees some events of one key: remembers those that are new, and answers each with what its
-- windows held when it was first seen. `history.py` does the same in Python.
--
-- KEYS[1]: where the state of the key is kept, as one MessagePack string
-- ARGV[1]: what is measured, as JSON (`RedisStates`); ARGV[2]: the events, [[id, us, value, ...], ...]
-- Answers: for each event the fields as JSON, or nothing where it comes too late
local spec, events = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local stored = redis.call('GET', KEYS[1])
local is_sound, state = true, {1, 0, {0, ''}, {}, {}, {}, {}, {}}
if stored then
  is_sound, state = pcall(cmsgpack.unpack, stored)
  if not is_sound or type(state) ~= 'table' or state[1] ~= 1 then
    return redis.error_reply('NOSTATE what is stored here was not written by enricher')
  end
end
-- A list and no map: the same state is the same bytes.
local _, newest, floor, times, ids, answers, names, kept = unpack(state)

local held, columns, lists = {}, {}, {times, ids, answers}
for number, name in ipairs(names) do held[name] = kept[number] end
for number, name in ipairs(spec.columns) do
  local column = held[name]
  if not column then -- a field that was not kept so far
    column = {}
    for place = 1, #times do column[place] = false end
  end
  columns[name], lists[#lists + 1] = column, column
end

local known = {}
for place = 1, #ids do known[ids[place]] = answers[place] end

-- `<` of Lua goes by the server's language; ids are ordered by their bytes.
local function is_less(one, other)
  for place = 1, math.min(#one, #other) do
    local left, right = one:byte(place), other:byte(place)
    if left ~= right then return left < right end
  end
  return #one < #other
end

-- How many of the first `high` events are not after a time.
local function until_time(time, high)
  local low = 0
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    if times[middle] <= time then low = middle else high = middle - 1 end
  end
  return low
end

local function forget(count)
  for place = 1, count do known[ids[place]] = nil end
  for _, list in ipairs(lists) do
    for place = 1, #list do list[place] = list[place + count] end
  end
end

local function measured(measure, lower, upper)
  local function has(place)
    for _, name in ipairs(measure.of) do
      if columns[name][place] == false then return false end
    end
    return true
  end
  if #measure.of == 0 then
    return upper - lower >= measure.at_least and string.format('%d', upper - lower)
  end
  local first = lower + 1
  if measure.last then
    local left = measure.last
    first = upper + 1
    while first > lower + 1 and left > 0 do
      first = first - 1
      if has(first) then left = left - 1 end
    end
  end
  local values, count, total, distinct, seen, latest = columns[measure.of[1]], 0, 0, 0, {}, false
  for place = first, upper do
    if has(place) then
      local value = values[place]
      count, latest = count + 1, value
      if measure.kind == 'distinct' and not seen[value] then
        seen[value], distinct = true, distinct + 1
      elseif measure.kind == 'sum' or measure.kind == 'mean' then
        total = total + value
      end
    end
  end
  if count < measure.at_least then return false end
  if measure.kind == 'count' then return string.format('%d', count) end
  if measure.kind == 'distinct' then return string.format('%d', distinct) end
  if measure.kind == 'previous' then return latest end
  if measure.kind == 'mean' then total = total / count end
  return total - total == 0 and string.format('%.17g', total)
end

local function answer_of(place, time)
  local pieces = {}
  for _, measure in ipairs(spec.measures) do
    local upper = measure.before and place - 1 or place
    local lower = measure.within and until_time(time - measure.within, upper) or 0
    local value = measured(measure, lower, upper)
    if value then pieces[#pieces + 1] = measure.target .. ':' .. value end
  end
  return '{' .. table.concat(pieces, ',') .. '}'
end

local function see(id, time, event)
  if time <= newest - spec.lateness then return false end
  if time < floor[1] or time == floor[1] and not is_less(floor[2], id) then return false end
  if time > newest then
    newest = time
    forget(until_time(time - spec.retention, #times))
  end
  local place = until_time(time, #times)
  while place > 0 and times[place] == time and is_less(id, ids[place]) do place = place - 1 end
  local surplus = #times + 1 - spec.max_events
  if surplus > place then return false end
  if surplus > 0 then
    floor = {times[surplus], ids[surplus]}
    forget(surplus)
    place = place - surplus
  end
  place = place + 1
  table.insert(times, place, time)
  table.insert(ids, place, id)
  for number, name in ipairs(spec.columns) do
    table.insert(columns[name], place, event[number + 2])
  end
  known[id] = answer_of(place, time)
  table.insert(answers, place, known[id])
  return known[id]
end

local found, is_new = {}, false
for number, event in ipairs(events) do
  local answer = known[event[1]]
  if not answer then
    answer = see(event[1], event[2], event)
    is_new = is_new or answer
  end
  found[number] = answer
end
if is_new then
  kept = {unpack(lists, 4)}
  state = {1, newest, floor, times, ids, answers, spec.columns, kept}
  redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', spec.expire)
end
return found
