"""Hide personal data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from enricher.document import MISSING
from enricher.model import Event
from enricher.path import FieldPath
from enricher.pii import KINDS
from enricher.pii.card import mask_but_bin
from enricher.pii.hiding import hasher, mask
from enricher.pii.masker import Masker
from enricher.stages.base import Context, EventFunction, Example, Stage

Personal = Literal["vpa", "card", "aadhaar", "pan", "phone", "email"]
MIN_KEY = 16
"""Characters of a key: a hash of a phone number is as good as the number for who guesses it."""


class Mask(Stage):
    """Hide personal data: in the fields that hold it, and in any text where it is found.

    What is kept, as it is written: `vpa` and `email`: the bank or the domain, and of a name of
    eight characters and more two at each end, of four and more one (`ra****sh@okaxis`);
    `card`, `aadhaar`, `pan`, `phone`: the last four (`**** **** **** 1111`, `******234F`). All
    else becomes stars. A text keeps its length; masked twice is masked once.

    `fields` hides whatever stands in a field, be it a text, a number, a list or an object, on
    a path that may lead through lists; what is not of its kind is hidden whole, null and empty
    texts are left alone.

    `scan` looks for kinds in every text, nested ones too, in whatever script its digits are. A
    `card` has 13 to 19 digits of a known network and passes Luhn, in one piece or in the groups
    that are printed; an `aadhaar` has 12, the first from 2 to 9, and passes Verhoeff; both are
    found in JSON integers, too, which become texts. A `pan` has a fourth letter that says whose
    it is. A `phone` is Indian (ten digits from 6 to 9 on, with or without 0, 91, +91), or has a
    `+`. A `vpa` has a handle without a dot, so `root@host` looks like one. Digits
    within a word, behind a decimal point or in a longer number are none of these. About 4 of 100
    random numbers of 16 digits look like a card, 8 of 100 of 12 digits like an Aadhaar number
    and 44 of 100 of 10 digits like a phone: `within` names the fields where people write. With
    more than 1,000 candidates in an event, texts that hold another one become `****`. Names of
    fields are never changed.

    `mode: hash` writes `card_` and 24 digits of an HMAC-SHA256 in place of the value: one value
    and key give one hash, however the value is written, so that events can still be joined.

    Let it stand behind the stages that need the values, and in front of none that writes new
    ones: alerts and every sink get what it leaves. Reasons in `failures` lose what they quote.
    Dead letters hold the record as it came, unless the pipeline says `dead_letters: {mask: true}`.
    """

    kind: ClassVar[str] = "mask"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "payments: by field, and in what people write",
            "mask:\n  fields: {upi_vpa: vpa, card_number: card, customer.phone: phone}\n"
            "  scan: [card, aadhaar, pan, email]\n  within: [message, error]",
            {
                "upi_vpa": "rakeshsh@okaxis",
                "card_number": 4111111111111111,
                "customer": {"phone": "+91 98765 43210", "tier": "gold"},
                "message": "Card 4111-1111-1111-1111 declined, KYC 2345 6789 0124, ABCPE1234F",
                "error": {"message": "no mail to rakesh.sharma@example.com"},
            },
            {
                "upi_vpa": "ra****sh@okaxis",
                "card_number": "************1111",
                "customer": {"phone": "+** ***** *3210", "tier": "gold"},
                "message": "Card ****-****-****-1111 declined, KYC **** **** 0124, ******234F",
                "error": {"message": "no mail to ra*********ma@example.com"},
            },
        ),
        Example(
            "what is kept of each kind",
            "mask: {scan: [vpa, email, card, aadhaar, pan, phone]}",
            {
                "vpa": "rakeshsh@okaxis, rahul@ybl, 9876543210@paytm",
                "email": "rakesh.sharma@example.com, raj@example.com",
                "card": "4111111111111111, 3782 822463 10005",
                "aadhaar": "2345 6789 0124",
                "pan": "ABCPE1234F",
                "phone": "9876543210, +91 98765-43210, +1 (415) 555-2671",
            },
            {
                "vpa": "ra****sh@okaxis, r***l@ybl, ********10@paytm",
                "email": "ra*********ma@example.com, ***@example.com",
                "card": "************1111, **** ****** *0005",
                "aadhaar": "**** **** 0124",
                "pan": "******234F",
                "phone": "******3210, +** *****-*3210, +* (***) ***-2671",
            },
        ),
        Example(
            "every text of the event; an order's number and a time are no card",
            "mask: {scan: [card, aadhaar]}",
            {
                "note": "paid by 5555 5555 5555 4444",
                "order": "1234567890123456",
                "at": 1761040929118,
                "items": [{"memo": "card 378282246310005"}],
            },
            {
                "note": "paid by **** **** **** 4444",
                "order": "1234567890123456",
                "at": 1761040929118,
                "items": [{"memo": "card ***********0005"}],
            },
        ),
        Example(
            "the bank's number stays, too",
            "mask: {fields: {card_number: card}, keep_bin: true}",
            {"card_number": "4111 1111 1111 1111"},
            {"card_number": "4111 11** **** 1111"},
        ),
        Example(
            "one hash for one phone",
            "mask: {mode: hash, key: 'a key of 16 or more', fields: {from: phone, to: phone}}",
            {"from": "+91 98765-43210", "to": "09876543210"},
            {"from": "phone_d70efbed13f936759e95976c", "to": "phone_d70efbed13f936759e95976c"},
        ),
    )
    on_error: Literal["dead_letter"] = Field(
        default="dead_letter", description="What cannot be masked must not go on."
    )
    fields: dict[FieldPath, Personal] = Field(
        default_factory=dict, description="What stands in a field, by its path."
    )
    scan: list[Personal] = Field(default_factory=list, description="What is looked for in texts.")
    within: list[FieldPath] = Field(
        default_factory=list,
        description="Fields to scan, with all that is in them; all fields where not given. A scan "
        "of all costs several times as much.",
    )
    mode: Literal["mask", "hash"] = Field(default="mask", description="Stars, or a keyed hash.")
    key: SecretStr | None = Field(
        default=None, description="For `hash`, 16 characters or more; give it as `${MASK_KEY}`."
    )
    keep_bin: bool = Field(
        default=False,
        description="Keep the first six digits of a card, too, of 15 and more; with the last four "
        "that is what PCI DSS lets be shown.",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Mask:
        if not (self.fields or self.scan):
            raise ValueError("give fields or scan: there is nothing to mask")
        if self.within and not self.scan:
            raise ValueError("within says where to scan: write scan, too")
        if (self.key is None) == (self.mode == "hash"):
            raise ValueError("mode: hash needs a key, and nothing else does")
        key = self.key.get_secret_value() if self.key else None
        if key is not None and len(key) < MIN_KEY and not key.startswith(MISSING):
            raise ValueError(f"the key has {len(key)} characters; {MIN_KEY} are the least")
        return self

    def masker(self) -> Masker:
        """Build what hides, for events and for dead letters."""
        kinds = dict(KINDS)
        if self.keep_bin:
            kinds["card"] = kinds["card"]._replace(mask=mask_but_bin)
        return Masker(
            {field: kinds[name] for field, name in self.fields.items()},
            [kinds[name] for name in dict.fromkeys(self.scan)],
            self.within,
            hasher(self.key.get_secret_value().encode()) if self.key else mask,
        )

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function."""
        masker = self.masker()
        changes, scan, conceal = masker.changes, masker.scan, masker.failures

        def mask_event(event: Event) -> None:
            for field, change in changes:
                value = event.get(field)
                if value is not None:
                    event[field] = change(value)
            reasons = event.get("failures")
            if reasons is not None:
                event["failures"] = conceal(reasons)
            if scan is not None:
                scan(event)

        return mask_event

    def writes(self) -> Iterable[str] | None:
        """Give the fields that it may write; a scan of all may write any."""
        return None if self.scan and not self.within else [*self.fields, *self.within, "failures"]
