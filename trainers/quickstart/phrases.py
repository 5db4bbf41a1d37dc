"""What customers of a shop for home devices write: the sentence patterns of the support-desk data.

Every intent and every level of urgency has patterns that training sees and patterns that only the
`unseen` slice uses. `{product}` is replaced by one of a product's names.
"""

from typing import NamedTuple


class Patterns(NamedTuple):
    """Sentence patterns that mean the same."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


PRODUCTS: dict[str, tuple[str, ...]] = {
    "coffee_machine": ("coffee machine", "espresso maker", "BaristaPro", "coffee maker"),
    "headphones": ("headphones", "noise-cancelling headphones", "SilentWave headset", "earphones"),
    "robot_vacuum": ("robot vacuum", "vacuum robot", "DustBuddy", "robotic vacuum cleaner"),
    "smart_lamp": ("smart lamp", "LumiGlow lamp", "bedside lamp", "LED lamp"),
    "fitness_watch": ("fitness watch", "PulseFit", "sports watch", "fitness tracker"),
    "tablet": ("tablet", "SlatePad", "10-inch tablet", "SlatePad tablet"),
    "e_reader": ("e-reader", "PageTurn", "ebook reader", "PageTurn e-reader"),
    "air_purifier": ("air purifier", "PureBreeze", "air cleaner", "PureBreeze air filter unit"),
    "door_camera": ("door camera", "video doorbell", "DoorEye", "doorbell camera"),
    "kitchen_scale": ("kitchen scale", "GramWise scale", "digital scale", "food scale"),
}

INTENTS: dict[str, Patterns] = {
    "refund": Patterns(
        seen=(
            "I would like my money back for the {product}.",
            "Please refund the {product}, I am not happy with it.",
            "I sent the {product} back and still have no refund.",
            "Can you refund what I paid for the {product}?",
            "I want a full refund for the {product}.",
            "When will I get the refund for my {product}?",
            "The {product} is not for me, so I want my money back.",
            "How do I get reimbursed for the {product} I returned?",
            "Where is the refund for the {product} that you promised?",
            "I sent back the {product} two weeks ago and my account shows no refund.",
            "The {product} did not convince me, please return my money.",
            "You owe me a refund for the {product}.",
        ),
        unseen=(
            "My {product} went back to you and the refund never reached my account.",
            "Kindly return my money, the {product} did not convince me.",
            "I am still owed a refund on a {product}.",
        ),
    ),
    "cancel_order": Patterns(
        seen=(
            "Please cancel my order of the {product}.",
            "I ordered the {product} by mistake and want to cancel.",
            "Can I still cancel the {product} before it ships?",
            "I changed my mind, cancel the {product} please.",
            "I need to cancel the order for a {product}.",
            "Stop my order, I no longer need the {product}.",
            "How can I cancel the {product} that I ordered today?",
            "Two orders were placed for the {product}, please cancel one.",
            "Please cancel, I do not need the {product} any more.",
            "I clicked the wrong button and ordered a {product}, please cancel it.",
            "It is not shipped yet, so cancel the {product}.",
            "The {product} must be cancelled, I found a cheaper one.",
        ),
        unseen=(
            "Is it too late to cancel? I do not need the {product} any more.",
            "The {product} order has to be cancelled, I clicked the wrong button.",
            "I would rather cancel than wait for the {product}.",
        ),
    ),
    "late_delivery": Patterns(
        seen=(
            "My {product} has still not arrived.",
            "Where is my {product}? The delivery is late.",
            "The {product} should have been delivered last week.",
            "The tracking of my {product} has not moved for days.",
            "I am still waiting for the {product} I ordered.",
            "The parcel with the {product} is overdue.",
            "The delivery of my {product} keeps getting delayed.",
            "The courier says the {product} is late again.",
            "The tracking page has said delayed for a week, where is the {product}?",
            "I keep waiting for the parcel with my {product}.",
            "When will the {product} finally be delivered?",
            "It has been two weeks and no {product} has arrived.",
        ),
        unseen=(
            "It has been ages and the {product} has not arrived at my door.",
            "No parcel, no {product}, and the tracking page says delayed.",
            "I keep waiting, when will the {product} be delivered?",
        ),
    ),
    "damaged_item": Patterns(
        seen=(
            "The {product} arrived broken.",
            "My {product} came with a cracked case.",
            "The box was crushed and the {product} is damaged.",
            "There is a big scratch on the new {product}.",
            "I unpacked the {product} and it is broken.",
            "The {product} was damaged in transport.",
            "One side of the {product} is dented.",
            "The glass of the {product} was shattered in the box.",
            "The {product} has a crack on the front.",
            "Sadly the {product} is scratched and dented.",
            "The courier dropped the parcel and the {product} broke.",
            "The screen of the {product} came out of the box cracked.",
        ),
        unseen=(
            "Sadly the {product} has a crack right across the front.",
            "The courier dropped it, now the {product} is dented and scratched.",
            "What came out of the box was a broken {product}.",
        ),
    ),
    "wrong_item": Patterns(
        seen=(
            "I received the wrong colour of the {product}.",
            "You sent me the wrong model of the {product}.",
            "The {product} in the box is not the one I ordered.",
            "I ordered the black {product} and got a white one.",
            "This is the wrong {product}.",
            "Someone packed the wrong size of the {product}.",
            "The {product} I got is a different version from the one I ordered.",
            "I was sent a different {product} than the one on my order.",
            "I paid for the blue {product} and a green one was in the parcel.",
            "There was a mix-up, the {product} is not the model from my order.",
            "The parcel held the wrong {product}.",
            "The colour of the {product} is not what I ordered.",
        ),
        unseen=(
            "Wrong parcel: the {product} is a different model from my order.",
            "I paid for a blue {product} but a white one was sent to me.",
            "There seems to be a mix-up, I got the wrong {product}.",
        ),
    ),
    "missing_part": Patterns(
        seen=(
            "The power cable of the {product} was missing.",
            "There was no charger in the box of the {product}.",
            "The manual for the {product} is missing.",
            "My {product} came without the screws.",
            "The {product} was delivered without its adapter.",
            "A part of the {product} is missing from the box.",
            "I cannot find the cable that belongs to the {product}.",
            "The box of the {product} lacks the accessories.",
            "Without the cable I cannot use the {product}, it was not in the parcel.",
            "The charger for my {product} is missing.",
            "I opened the box of the {product} and the accessories are missing.",
            "Some screws for the {product} were not included.",
        ),
        unseen=(
            "I opened the {product} and the charger is missing.",
            "Without the adapter I cannot use the {product}, it was not in the box.",
            "Some accessories for the {product} are missing.",
        ),
    ),
    "login_problem": Patterns(
        seen=(
            "I cannot log in to the app of the {product}.",
            "My password for the {product} account no longer works.",
            "The {product} app says my account is locked.",
            "I forgot the password of my {product} account.",
            "The code to sign in to the {product} app never comes.",
            "Logging in with the {product} fails every time.",
            "The {product} app keeps logging me out.",
            "I am locked out of my {product} account.",
            "The app rejects my password since I got the {product}.",
            "I cannot sign in with my {product}, it says wrong password.",
            "The login page for the {product} does not load.",
            "My account for the {product} is locked after the update.",
        ),
        unseen=(
            "Since the update the {product} app rejects my password.",
            "I try to sign in for my {product} and the account is locked.",
            "The login page of the {product} account says wrong password.",
        ),
    ),
    "setup_help": Patterns(
        seen=(
            "How do I connect the {product} to my wifi?",
            "I need help to set up the {product}.",
            "The {product} does not pair with my phone.",
            "How can I reset the {product} to factory settings?",
            "I do not understand how to install the {product}.",
            "Which steps do I follow to set up the {product}?",
            "The {product} cannot find my network.",
            "Can you explain how to pair the {product}?",
            "I am stuck while I install the {product}.",
            "Help, the {product} will not connect to the network.",
            "My new phone and the {product} do not pair, what do I do?",
            "Could you help me connect the {product} with my wifi?",
        ),
        unseen=(
            "I am stuck at the step where the {product} should connect to the network.",
            "Could someone help me install the {product} on my wifi?",
            "Pairing the {product} with a new phone, how does that work?",
        ),
    ),
    "invoice": Patterns(
        seen=(
            "I need an invoice for the {product}.",
            "The invoice for the {product} shows the wrong amount.",
            "Please send me the receipt of the {product}.",
            "My invoice for the {product} lacks the VAT number.",
            "I was charged twice for the {product}.",
            "Where do I find the bill for the {product}?",
            "The price on the bill for the {product} is too high.",
            "Can you put my company on the invoice for the {product}?",
            "My accountant needs the bill for the {product}.",
            "Something is wrong with the invoice of the {product}.",
            "The VAT on the receipt for the {product} is missing.",
            "I see two charges for the {product} on my card, please check the bill.",
        ),
        unseen=(
            "My accountant asks for the receipt or invoice of the {product}.",
            "Something is off with the bill: the {product} was charged twice.",
            "The VAT on the invoice of the {product} looks wrong.",
        ),
    ),
    "address_change": Patterns(
        seen=(
            "I moved, please change the address for the {product}.",
            "Please deliver the {product} to my office.",
            "I typed the wrong street for the {product}.",
            "Can the {product} go to another address?",
            "Please update the delivery address of the {product}.",
            "The {product} should be sent to my new home.",
            "My house number is wrong on the order of the {product}.",
            "Please send the {product} to my neighbour instead.",
            "We moved house, please send the {product} to the new address.",
            "Could you change the delivery address for the {product}?",
            "I have a new street and the {product} is still on its way to the old one.",
            "The {product} must go to a new address.",
        ),
        unseen=(
            "I have a new address, can the {product} go there?",
            "Could you change the street on the {product} order?",
            "We moved house, the {product} must not go to the old address.",
        ),
    ),
    "warranty": Patterns(
        seen=(
            "My {product} stopped working, is it under warranty?",
            "How long is the warranty on the {product}?",
            "The {product} died after a year, can it be repaired?",
            "Does the guarantee cover a battery for the {product}?",
            "I want to claim the warranty for my {product}.",
            "The {product} no longer turns on and I have a guarantee.",
            "Where do I send the {product} for repair?",
            "Is the motor of the {product} covered by the warranty?",
            "After some months the {product} no longer works, what does the warranty cover?",
            "Will you repair my {product} under guarantee?",
            "I would like the {product} to be repaired.",
            "Is the {product} still under guarantee?",
        ),
        unseen=(
            "Would the warranty pay for a repair of my {product}?",
            "After some months the {product} stopped working, does the guarantee cover that?",
            "I would like to have the {product} repaired under guarantee.",
        ),
    ),
}

URGENCY: dict[str, Patterns] = {
    "high": Patterns(
        seen=(
            "This is urgent!",
            "I need an answer today.",
            "Please act immediately.",
            "It cannot wait, please hurry.",
            "I need this solved right now.",
            "Reply as soon as possible please.",
            "ASAP!",
            "I will call my lawyer if nothing happens today.",
            "This is really urgent, please hurry.",
            "I must have this sorted out today.",
            "Please answer right now.",
            "Hurry up please!",
        ),
        unseen=(
            "Please hurry, this is really urgent.",
            "I must have an answer right now.",
            "Act today, it cannot wait!",
        ),
    ),
    "normal": Patterns(
        seen=(
            "",
            "",
            "",
            "Please get back to me this week.",
            "Let me know what you need from me.",
            "What are the next steps?",
            "Please tell me what happens next.",
            "",
        ),
        unseen=("", "", "Please tell me the next steps this week."),
    ),
    "low": Patterns(
        seen=(
            "There is no hurry.",
            "It is not urgent.",
            "Take your time.",
            "Whenever you find the time.",
            "No rush at all.",
            "It can wait until next month.",
            "Just asking, nothing pressing.",
            "Answer when it suits you.",
            "No hurry with this.",
            "You can take all the time you need.",
            "This can wait, it is really not urgent.",
            "Reply whenever it suits you, there is no rush.",
        ),
        unseen=(
            "No hurry, answer whenever you find the time.",
            "Really not urgent, it can wait.",
            "Take all the time you need, no rush.",
        ),
    ),
}

GREETINGS = (
    "",
    "",
    "Hi,",
    "Hello,",
    "Dear team,",
    "Good morning,",
    "Hey there,",
    "Hi support,",
    "Good evening,",
    "To whom it may concern,",
)

DETAILS = (
    "",
    "",
    "Order number {order}.",
    "My order is {order}.",
    "(order {order})",
    "I bought it on {date}.",
    "Ordered on {date}, number {order}.",
    "Ref {order}.",
    "It is from {date}.",
    "The customer number is {customer}.",
)

ASIDES = (
    "",
    "",
    "",
    "It was a present for my mother.",
    "I have been a customer for {years} years.",
    "We also own your {other} and like it a lot.",
    "My {other} works fine by the way.",
    "I wrote to you on {date} already.",
    "Nobody picks up the phone.",
    "Your chat sent me here.",
    "My partner uses it every day.",
    "I could not find this in the FAQ.",
)

CLOSINGS = (
    "",
    "",
    "",
    "Thanks!",
    "Thank you.",
    "Best regards, {name}",
    "Kind regards, {name}",
    "Cheers, {name}",
    "{name}",
    "Thanks in advance, {name}",
)

NAMES = (
    "Anna", "Ben", "Carla", "David", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kemal", "Lena", "Maria", "Noah",
    "Olga", "Pablo", "Quinn", "Rosa", "Sam", "Tariq", "Uma", "Victor", "Wei", "Yusuf", "Zoe",
)  # fmt: skip

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
