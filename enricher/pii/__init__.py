"""Personal data: what is found, what is kept of it. The catalogue of kinds."""

from __future__ import annotations

from enricher.pii.aadhaar import AADHAAR
from enricher.pii.card import CARD
from enricher.pii.email import EMAIL
from enricher.pii.kind import Kind
from enricher.pii.pan import PAN
from enricher.pii.phone import PHONE
from enricher.pii.vpa import VPA

KINDS: dict[str, Kind] = {kind.name: kind for kind in (VPA, CARD, AADHAAR, PAN, PHONE, EMAIL)}
