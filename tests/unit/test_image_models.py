"""Images are for models that take them: everyone else is told which models do."""

from __future__ import annotations

from typing import cast

import pytest

from plugins.client import KernelClient
from plugins.image_models import MAX_NAMED, ImageModels, check_takes_images
from transports.errors import ModelNotFound, TaskNotSupported
from transports.reports import Modality, ModelInfo

PARAM = "messages[0].content[1].image_url"
BOTH: tuple[Modality, ...] = ("text", "image")


class Kernel:
    """A kernel that knows some models."""

    def __init__(self, *known: ModelInfo) -> None:
        self.known = known
        self.num_asked = 0

    async def models(self) -> tuple[ModelInfo, ...]:
        self.num_asked += 1
        return self.known


def client(*known: ModelInfo) -> KernelClient:
    return cast(KernelClient, Kernel(*known))


def info(name: str, modalities: tuple[Modality, ...] = ("text",), kind: str = "text") -> ModelInfo:
    return ModelInfo(name=name, kind=kind, state="available", source="folder", modalities=modalities)


async def test_a_model_that_takes_images_is_let_through() -> None:
    await check_takes_images(client(info("eyes", BOTH)), "eyes", PARAM)


async def test_a_text_model_is_refused_with_the_names_of_those_that_see() -> None:
    known = client(info("blind"), info("eyes", BOTH), info("broken", BOTH, kind=""))

    with pytest.raises(TaskNotSupported) as caught:
        await check_takes_images(known, "blind", PARAM)
    assert caught.value.message == f"{PARAM}: blind takes text only; models here that take images: eyes"
    assert (caught.value.param, caught.value.http_status) == (PARAM, 400)


async def test_a_long_list_of_names_is_cut() -> None:
    many = [info(f"eyes{number:02}", BOTH) for number in range(MAX_NAMED + 1)]

    with pytest.raises(TaskNotSupported, match=rf"eyes{MAX_NAMED - 1:02}, \.\.\.$"):
        await check_takes_images(client(info("blind"), *many), "blind", PARAM)


async def test_where_no_model_sees_that_is_said() -> None:
    with pytest.raises(TaskNotSupported, match="no model here takes images"):
        await check_takes_images(client(info("blind")), "blind", PARAM)


async def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="eyes"):
        await check_takes_images(client(info("eyes", BOTH)), "eye", PARAM)


async def test_a_broken_model_is_left_to_the_kernel() -> None:
    await check_takes_images(client(info("broken", kind="")), "broken", PARAM)


async def test_a_model_that_took_images_is_not_asked_about_again() -> None:
    kernel = Kernel(info("eyes", BOTH))
    image_models = ImageModels()

    for _ in range(3):
        await image_models.check(cast(KernelClient, kernel), "eyes", PARAM)

    assert kernel.num_asked == 1


async def test_a_refused_model_is_asked_about_each_time() -> None:
    """It may be replaced by one with eyes."""
    kernel = Kernel(info("blind"))
    image_models = ImageModels()

    for _ in range(2):
        with pytest.raises(TaskNotSupported):
            await image_models.check(cast(KernelClient, kernel), "blind", PARAM)

    assert kernel.num_asked == 2
