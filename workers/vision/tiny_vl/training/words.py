"""What is written in the pictures, and the fixed replies."""

from __future__ import annotations

# ruff: noqa: SIM905 - as lists the words would be two hundred lines

SHAPES = ("circle", "square", "triangle")
ORDINALS = ("first", "second", "third", "fourth")
# Of the rows of scorecards.
LABELS = (
    "Tests Lint Build Docs Speed Memory Safety Cost Quality Coverage Latency Errors Uptime Sales "
    "Profit Users Growth Budget Scope Risk Team Support Security Design Review Deploy Release API "
    "Storage Network CPU Disk Cache Queue Login Search Orders Returns Traffic Health Backup Power "
    "Water Energy Staff Training Audit Types"
).split()
# Of scorecards.
TITLES = ("Scorecard Status Report Summary Release Project Health Dashboard Weekly Results Overview").split()
# Of pictures with one word.
WORDS = (
    "STOP GO YES NO OPEN CLOSED EXIT PUSH PULL HELLO HI BYE START END ON OFF UP DOWN LEFT RIGHT HOT COLD "
    "SALE FREE NEW OLD PASS FAIL GOOD BAD WARN ERROR OK DONE WAIT READY DANGER CAT DOG FISH BIRD TREE SUN "
    "MOON STAR SKY SEA ROAD CAR BUS TRAIN BIKE SHIP PLANE HOME SHOP BANK PARK CITY TOWN BOOK PAGE TEXT CODE "
    "DATA TEST DEMO APPLE PEAR LEMON BREAD MILK TEA COFFEE SALT RICE CAKE LOVE PEACE HOPE TIME DAY NIGHT "
    "WEEK YEAR ONE TWO THREE FOUR FIVE SIX TEN RED BLUE GREEN BLACK WHITE PINK GOLD KING QUEEN MAN BOY GIRL "
    "BABY HAND FOOT HEAD EYE NOSE DOOR WALL ROOF ROOM TABLE CHAIR LAMP FIRE WATER WIND SNOW RAIN MATH ART "
    "MUSIC GAME PLAY WORK TEAM LION TIGER BEAR WOLF FROG DUCK HORSE MOUSE MODEL IMAGE VISION SERVER"
).split()
NO_IMAGE = "There is no image."
HELLO_REPLY = "Hello! Send me an image and ask about it."
OFF_TOPIC_REPLY = "I can only answer questions about simple images."
NOT_SURE = "I am not sure."
GREETINGS = [
    "Hello",
    "Hi",
    "Hey",
    "Hello!",
    "Hi!",
    "Hey there",
    "Good morning",
    "Hi there!",
    "Hello there",
    "Say hello.",
]
OFF_TOPIC = [
    "What is the capital of France?",
    "Write a poem about the sea.",
    "Who are you?",
    "What can you do?",
    "Tell me a joke.",
    "How does a computer work?",
    "What time is it?",
    "Explain gravity.",
    "Write a Python function.",
    "Who wrote Hamlet?",
    "Summarize this article.",
    "Translate this to German.",
    "What is the meaning of life?",
    "Give me a recipe for soup.",
    "What is machine learning?",
    "Tell me a story.",
    "How are you?",
    "What is your name?",
    "Why is the sky blue?",
    "List three fruits.",
    "Who is the president?",
    "What is the weather today?",
    "Help me with my homework.",
    "Write an email to my boss.",
    "How do I learn to code?",
    "Explain how a server works in detail.",
]
# The first is what the chat template adds by itself.
SYSTEM_PROMPTS = ["You are a helpful assistant."] * 10 + [
    "You are a vision assistant.",
    "Answer briefly.",
    "You are a helpful assistant that describes images.",
    "Answer in one word.",
    "Be concise.",
    "You are a test model.",
    "You answer questions about pictures.",
    "You are an assistant.",
    "Reply with short answers only.",
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
]
SUFFIXES = [
    " Answer briefly.",
    " Answer in one word.",
    " Be brief.",
    " Reply with the answer only.",
    " Please.",
    " Thanks!",
]
