"""What Open WebUI reads of a model in a list: whether to show it, what to offer with it, and what to send.

It takes this from a server as long as its own administrator has said nothing else about the model.
"""

from __future__ import annotations

from typing import TypedDict

from transports.reports import ModelInfo


class OpenWebUiCapabilities(TypedDict):
    """What it offers; all that is absent it offers too."""

    # Pictures can be added.
    vision: bool
    # It sends 36 tools with every turn.
    builtin_tools: bool
    # It asks for the usage, and shows it; when absent it does not.
    usage: bool


class OpenWebUiMeta(TypedDict):
    """What it shows."""

    # Below the name of the model.
    description: str
    # Not in its list, which is of models to chat with.
    hidden: bool
    capabilities: OpenWebUiCapabilities


class OpenWebUiInfo(TypedDict):
    """A model as its administrator would have described it."""

    meta: OpenWebUiMeta


def open_webui_info(info: ModelInfo) -> OpenWebUiInfo:
    """The field `info` of a model in a list."""
    return {
        "meta": {
            "description": _description(info),
            "hidden": bool(info.tasks) and "chat" not in info.tasks,
            "capabilities": {
                "vision": "image" in info.modalities,
                "builtin_tools": "tools" in info.capabilities,
                "usage": True,
            },
        }
    }


def _description(info: ModelInfo) -> str:
    sentences = ["Takes text and pictures." if "image" in info.modalities else "Takes text."]
    if "reasoning" in info.capabilities:
        sentences.append("Thinks.")
    if "tools" in info.capabilities:
        sentences.append("Calls tools.")
    if info.context_length:
        sentences.append(f"Context: {info.context_length} tokens.")
    if info.alias_of:
        sentences.append(f"Stands for {info.alias_of}.")
    return " ".join(sentences)
