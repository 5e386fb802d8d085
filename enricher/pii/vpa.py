"""UPI addresses: `rakeshsh@okaxis`.

The form is NPCI's: letters, digits, `.`, `-` and `_`, then a handle of letters, some with digits
behind them (`kotak811`). A dot behind the handle makes it an e-mail address.
"""

from __future__ import annotations

from enricher.pii.address import AT, NAME_HINT, mask_name, normal
from enricher.pii.kind import Kind

_NAME = r"[\w.*?-]"
_AFTER = r"(?:$|[^\w.*]|\*{1,3}(?:$|[^\w*])|\.(?:$|\W))"
"""No word, nor what is masked: behind the sign it was the name of another address."""

VPA = Kind(
    name="vpa",
    pattern=rf"(?:^|[^\w.*?-])({_NAME}{{2,}}{AT}[A-Za-z]{{2,}}[0-9]*){_AFTER}",
    fit=len,
    mask=mask_name,
    normal=normal,
    hint=f"{NAME_HINT}[A-Za-z]{{2}}",
)
