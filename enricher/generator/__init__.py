"""Make realistic and hostile events for demonstrations, tests and benchmarks."""

from enricher.generator.customers import accounts, users
from enricher.generator.events import GeneratedRecord, generate
from enricher.generator.fraud import LabelledRecord, generate_fraud
from enricher.generator.hostile import DEAD_LETTER_CASES, HostileRecord, hostile

__all__ = [
    "DEAD_LETTER_CASES",
    "GeneratedRecord",
    "HostileRecord",
    "LabelledRecord",
    "accounts",
    "generate",
    "generate_fraud",
    "hostile",
    "users",
]
