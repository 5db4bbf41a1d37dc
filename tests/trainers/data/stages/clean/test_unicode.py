"""Characters as they were meant."""

import pytest

from tests.trainers.data.stages.clean.rows import changed, chat, one


def repaired(text: str, **settings) -> str:
    return changed(text, kind="unicode", **settings)


@pytest.mark.parametrize(
    ("broken", "meant"),
    [
        ("cafÃ© and naÃ¯ve", "café and naïve"),
        ("It costs â‚¬5 â€” donâ€™t pay", "It costs €5 — don’t pay"),
        ("pаypal аccount", "paypal account"),  # Cyrillic а
        ("Ηello Іtaly", "Hello Italy"),  # Greek Η, Ukrainian І
        ("прoблема", "проблема"),  # Latin o
        ("Zu\u0308rich", "Zürich"),
    ],
)
def test_broken_characters_become_what_was_meant(broken, meant):
    assert repaired(broken) == meant


@pytest.mark.parametrize(
    "text",
    [
        "Привет, где мой заказ? Ответьте.",
        "Πού είναι η παραγγελία μου;",
        "私の注文はどこですか",
        "ΔT = 5 μm, cosα, 10 kΩ",
        "Яndex, SMSка, Bluetooth-устройство",
        "“curly” – ½ ﬁne … &amp; x²",
        "naïve café",
    ],
)
def test_what_is_meant_as_it_stands_stays(text):
    record = one(text, kind="unicode")
    assert record.row["text"] == text and record.changes == []


def test_each_repair_can_be_switched_off():
    assert repaired("cafÃ©", mojibake=False) == "cafÃ©"
    assert repaired("pаypal", look_alikes=False) == "pаypal"
    assert repaired("Zu\u0308rich", form=None) == "Zu\u0308rich"
    assert repaired("ﬁne x²", form="NFKC") == "fine x2"


def test_only_the_roles_that_are_named_are_looked_at():
    record = one(chat("cafÃ©", "cafÃ©"), kind="unicode", roles=["assistant"])
    assert record.texts() == ["cafÃ©", "café"] and record.changes == ["unicode"]
