"""The questions, each in several wordings."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from workers.vision.tiny_vl.training.words import SUFFIXES


class Turn(NamedTuple):
    """A question and the one right answer."""

    # What is asked for; the accuracy is counted by it. One of `encode.KINDS`.
    kind: str
    question: str
    answer: str


# The order counts: `conversations.turn_without_image` draws from the keys by seed.
QUESTIONS = {
    "describe": [
        "Describe the image.",
        "Describe this image.",
        "What is in the image?",
        "What is in this image?",
        "What do you see?",
        "What's in this image?",
        "What does the image show?",
        "Caption this image.",
        "Describe the picture.",
        "What is in the picture?",
        "Please describe the image.",
        "What is shown in the image?",
        "Describe what you see.",
        "Tell me what is in the image.",
    ],
    "json": [
        "Describe the image as JSON.",
        "Return JSON.",
        "Describe this image in JSON.",
        "Answer in JSON.",
        "Give me JSON describing the image.",
    ],
    "color_of": [
        "What color is the {x}?",
        "What colour is the {x}?",
        "Which color is the {x}?",
        "The {x} is what color?",
        "What is the color of the {x}?",
        "Tell me the color of the {x}.",
    ],
    "shape_of": [
        "What shape is {c}?",
        "Which shape is {c}?",
        "What is the {c} shape?",
        "What shape is the {c} one?",
        "What {c} shape is there?",
    ],
    "what_shape": [
        "What shape is it?",
        "What shape is this?",
        "What shape is in the image?",
        "Which shape do you see?",
        "What shape is shown?",
    ],
    "what_color": [
        "What color is it?",
        "What color is this?",
        "What colour is it?",
        "What color is the shape?",
        "What color do you see?",
    ],
    "count": [
        "How many shapes are there?",
        "How many shapes are in the image?",
        "How many shapes do you see?",
        "Count the shapes.",
        "How many objects are there?",
        "How many shapes?",
    ],
    "count_s": [
        "How many {x}s are there?",
        "How many {x}s are in the image?",
        "How many {x}s do you see?",
        "Count the {x}s.",
    ],
    "count_c": [
        "How many {c} shapes are there?",
        "How many shapes are {c}?",
        "How many {c} shapes do you see?",
    ],
    "exists": ["Is there {a}?", "Is there {a} in the image?", "Do you see {a}?", "Does the image show {a}?"],
    "bg": [
        "What color is the background?",
        "What is the background color?",
        "What colour is the background?",
        "Which color is the background?",
    ],
    "where": [
        "Where is the {x}?",
        "Where is the {x} in the image?",
        "What is the position of the {x}?",
        "In what part of the image is the {x}?",
    ],
    "number": [
        "What number is written?",
        "What number is shown?",
        "What number is this?",
        "What number is in the image?",
        "Which number do you see?",
        "Read the number.",
        "What is the number?",
        "What number do you see?",
    ],
    "word": [
        "What word is written?",
        "What word is shown?",
        "What is the word?",
        "Read the word.",
        "What word is this?",
        "Which word do you see?",
        "What does it say?",
        "What word is in the image?",
    ],
    "text": [
        "Read the text.",
        "What text is in the image?",
        "What is written?",
        "What does the text say?",
        "What does the image say?",
        "Transcribe the text.",
    ],
    "color_num": [
        "What color is the number?",
        "What colour is the number?",
        "What is the color of the number?",
    ],
    "color_word": [
        "What color is the word?",
        "What colour is the word?",
        "What is the color of the text?",
        "What color is the text?",
    ],
    "which_row": [
        "Which row is {s}?",
        "Which rows are {s}?",
        "Which item is {s}?",
        "What is {s}?",
        "Which metric is {s}?",
        "Which row has a {s} status?",
    ],
    "value": [
        "What is the value of {l}?",
        "What is the {l} value?",
        "What value does {l} have?",
        "How much is {l}?",
        "Value of {l}?",
        "What is the score of {l}?",
    ],
    "status": [
        "What is the status of {l}?",
        "What color is {l}?",
        "What status does {l} have?",
        "What color is the {l} row?",
        "Is {l} red, amber or green?",
    ],
    "rows": [
        "How many rows are there?",
        "How many rows does the table have?",
        "How many rows?",
        "Count the rows.",
        "How many rows are in the scorecard?",
    ],
    "rows_s": ["How many rows are {s}?", "How many {s} rows are there?", "How many items are {s}?"],
    "allgreen": ["Is everything green?", "Are all rows green?", "Is all green?"],
    "labels": ["What are the row labels?", "List the rows.", "List the labels.", "Which rows are there?"],
    "first_row": [
        "What is the {o} row?",
        "What is the label of the {o} row?",
        "Which label is in the {o} row?",
    ],
    "row_exists": [
        "Is there a {l} row?",
        "Is there a row called {l}?",
        "Does the table have a {l} row?",
        "Is {l} in the table?",
    ],
    "row_index": [
        "Which row is {l} in?",
        "What is the position of the {l} row?",
        "Where is {l} in the table?",
        "In which row is {l}?",
    ],
    "value_row": [
        "Which row has the value {v}?",
        "Which label has the value {v}?",
        "Which item is {v}?",
        "What has the value {v}?",
    ],
    "images": [
        "How many images are there?",
        "How many images do you see?",
        "How many pictures are there?",
        "How many images did I send?",
    ],
    "each": [
        "Describe each image.",
        "Describe the images.",
        "What is in each image?",
        "Describe all images.",
    ],
    "desc_n": [
        "Describe the {o} image.",
        "What is in the {o} image?",
        "What does the {o} image show?",
        "What is in image {n}?",
        "Describe image {n}.",
    ],
    "color_n": [
        "What color is the {o} image?",
        "What color is the shape in the {o} image?",
        "What color is image {n}?",
        "What color is in the {o} image?",
    ],
    "shape_n": [
        "What shape is in the {o} image?",
        "What shape is the {o} image?",
        "Which shape does the {o} image show?",
        "What shape is in image {n}?",
    ],
    "number_n": [
        "What number is in the {o} image?",
        "What number does the {o} image show?",
        "What number is written in the {o} image?",
        "What number is in image {n}?",
    ],
    "word_n": [
        "What word is in the {o} image?",
        "What word does the {o} image show?",
        "What is written in the {o} image?",
        "What word is in image {n}?",
    ],
    "which_image": [
        "Which image shows {a}?",
        "Which image has {a}?",
        "In which image is {a}?",
        "Which one is {a}?",
    ],
    "solid": [
        "What color is this?",
        "What color is it?",
        "What color is the image?",
        "What colour is the image?",
        "What color do you see?",
        "What is the color of this image?",
        "What is the dominant color?",
        "What color is the picture?",
    ],
}


def ask(rng: Random, question: str, **names: object) -> str:
    """One wording of *question*, with the names put in."""
    return rng.choice(QUESTIONS[question]).format(**names)


def restyle(rng: Random, question: str) -> str:
    """Now and then as people type: without a mark, in lower case, with a request behind."""
    chance = rng.random()
    if chance < 0.06:
        return question.rstrip("?.")
    if chance < 0.12:
        return question.lower()
    if chance < 0.2:
        return question + rng.choice(SUFFIXES)
    if chance < 0.23:
        return "Please answer: " + question
    return question


def article(words: str) -> str:
    """With "a" or "an" in front."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return words[0].upper() + words[1:] + "."


def enumeration(parts: list[str]) -> str:
    """With commas and "and"."""
    if len(parts) <= 2:
        return " and ".join(parts)
    return ", ".join(parts[:-1]) + ", and " + parts[-1]


def yes_or_no(is_so: bool) -> str:
    """The answer to a question whether something is so."""
    return "yes" if is_so else "no"
