"""What the vision engine refuses, and that the next request is answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pictures
import pytest
from engine_host import Job, Run
from vision_jobs import job

from transports.messages import ChatMessage, ChatRequest, ImagePart

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
RED_CIRCLE = pictures.shapes(("red", "circle"))
COLOR = "What color is the shape?"
SPECIAL = [
    "<|image_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|video_pad|>",
    "<|im_end|>",
    "<|endoftext|>",
]


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (1, 10_000), (10_000, 1), (3, 700)])
def test_a_picture_of_any_shape_is_answered_or_refused(look: Run, size: tuple[int, int]) -> None:
    report = look(job("odd", [pictures.plain("red", size), COLOR]), job("next", [RED_CIRCLE, COLOR]))

    errors = [one for _, one in report.of("odd") if hasattr(one, "code")]
    if errors:
        assert (errors[0].code, errors[0].param) == ("invalid_request", "messages[0].content[0]")
        assert f"{size[0]} x {size[1]} pixels" in errors[0].message
    else:
        assert report.done("odd").finish_reason in ("stop", "length")
    assert report.text("next") == "red"


@pytest.mark.parametrize("typed", SPECIAL)
def test_names_of_special_tokens_are_text(look: Run, typed: str) -> None:
    report = look(
        job("alone", [typed]),
        job("beside", [RED_CIRCLE, f"{typed} {COLOR}"]),
        job("word", [RED_CIRCLE, f"x {COLOR}"]),
    )

    assert report.done("alone").usage.prompt_tokens > 25
    assert report.text("beside") == "red"
    # As many pictures as without: the name is spelled in some tokens.
    more = report.done("beside").usage.prompt_tokens - report.done("word").usage.prompt_tokens
    assert 2 < more < 16


def test_an_image_that_was_not_sent_is_refused(look: Run) -> None:
    message = ChatMessage(role="user", content=(ImagePart(image=0),))
    report = look(Job(id="none", chat=ChatRequest(messages=(message,))))

    assert report.error("none").code == "invalid_request"
    assert report.error("none").param == "messages[0].content[0]"


def test_pictures_that_do_not_fit_are_refused(look: Run) -> None:
    colors = ("red", "green", "blue", "yellow", "orange")
    many = [pictures.plain(color, (336, 336)) for color in colors]
    report = look(job("long", [*many, COLOR]), settings={"max_context_tokens": 400})

    assert report.error("long").code == "context_length_exceeded"
    # Found out before the last one is looked at.
    assert "or more with pictures" in report.error("long").message


def test_max_tokens_must_fit_beside_the_pictures(look: Run) -> None:
    report = look(job("long", [RED_CIRCLE, COLOR], max_tokens=360), settings={"max_context_tokens": 400})

    assert report.error("long").param == "max_tokens"


def test_a_folder_that_asks_to_run_code_is_refused(look: Run, tiny_vl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_vl, folder)
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_file": "evil.py"}))

    report = look(path=str(folder))

    assert report.load_error is not None
    assert "model_file" in report.load_error.message
    assert not ran.exists()


TRUSTING = """
import sys
from workers.vision.loading import close_doors
from transports.errors import ModelUnavailable
from transports.settings import VisionSettings
from transformers import AutoTokenizer

close_doors(VisionSettings())
try:
    AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
except ModelUnavailable as e:
    print(e.message)
"""


def test_code_of_a_folder_is_not_run_by_who_trusts_it(
    vision_python: str, tiny_vl: Path, tmp_path: Path
) -> None:
    """mlx-vlm does for some model types."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_vl, folder)
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    command = [vision_python, "-P", "-c", TRUSTING, str(folder)]
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HF_HOME": str(tmp_path / "hf")}

    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert not ran.exists()
    assert "mlxd never does" in result.stdout, result.stderr[-2000:]


def test_a_text_model_is_refused_with_a_reason(look: Run, tiny_vl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_vl, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "no_such_model"}))

    report = look(path=str(folder))

    assert report.load_error is not None
    assert report.load_error.code == "model_unavailable"


LIFTING = """
import sys
from pathlib import Path
from PIL import Image
from transports.errors import ModelUnavailable
from workers.vision import loading

def load_model(path, lazy):
    Image.MAX_IMAGE_PIXELS = None
    raise RuntimeError("no model")

loading.load_model = load_model
before = Image.MAX_IMAGE_PIXELS
try:
    loading.load(Path(sys.argv[1]), {}, lambda progress: None)
except ModelUnavailable:
    print(Image.MAX_IMAGE_PIXELS == before and before is not None)
"""


def test_a_model_does_not_lift_the_limit_of_pillow(vision_python: str, tiny_vl: Path) -> None:
    """A module of mlx-vlm does that when it is imported."""
    command = [vision_python, "-P", "-c", LIFTING, str(tiny_vl)]
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert result.stdout.strip() == "True", result.stderr[-2000:]


WITHOUT_TORCH = """
import sys
from pathlib import Path
from transports.errors import ModelUnavailable
from workers.vision import loading

def load_processor(*arguments, **fields):
    raise ImportError("Qwen2VLVideoProcessor requires the Torchvision library but it was not found")

loading.load_processor = load_processor
try:
    loading.load(Path(sys.argv[1]), {}, lambda progress: None)
except ModelUnavailable as e:
    print(e.message)
"""


def test_a_processor_that_needs_torch_is_told_as_that(vision_python: str, tiny_vl: Path) -> None:
    command = [vision_python, "-P", "-c", WITHOUT_TORCH, str(tiny_vl)]
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert "processor needs torch, which vision workers do not have" in result.stdout, result.stderr[-2000:]
    assert "`requirements` in [models.options]" in result.stdout
