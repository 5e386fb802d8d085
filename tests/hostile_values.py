"""Texts that would do harm where they are taken for more than a text."""

from __future__ import annotations

from hypothesis import strategies as st

from enricher.generator.hostile_fields import _INJECTIONS

_TEXTS = [
    *_INJECTIONS,
    *('"', "\\", '","_index":"evil"}}', '"}}\n{"delete":{"_index":"logs-ok","_id":"x"}}\n', "\n", "\r\n"),
    *("\u2028", "\u2029", "\x85", "\0", "\x7f", "\ufeff", "\u202eevil", "ＡＢＣ", "İ", "ß", "é", "e\u0301"),
    *("logs-*", "*", "_all", "-logs-ok", "+logs-ok", ".kibana", "<logs-{now/d}>", "%3Clogs%3E", "logs,evil"),
    *("OK", "ok ", " ok", "ok\n", "ok\0", "оk", "o\u200bk", "ok/../fine", "x" * 512, "x" * 513, "₹" * 171),
    *("user:", "{user}", "{user}:x", "*", "user:*", "[a-z]", "$6\r\nFLUSHALL\r\n", "*1\r\n$8\r\nFLUSHALL\r\n"),
    *("2025-10-20T10:15:30Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2025-10-20", "now"),
    *("__class__", "{0.__class__}", "%(a)s", "%n%n", "${jndi:ldap://x}", "null", "true", "[]", "{}"),
]  # fmt: skip
HOSTILE = list(dict.fromkeys(_TEXTS))
"""For the name of an index, an id, a Redis key, a time; and for each other."""

texts = st.sampled_from(HOSTILE) | st.text(max_size=600) | st.text('"\\\n\r{}*:,', max_size=12)
values = (
    texts
    | st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(texts, max_size=2)
    | st.dictionaries(st.sampled_from("abc"), texts, max_size=2)
)
