"""A conversation in `mlxd chat`: its turns, its settings and its /commands.

Knows no terminal and no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from plugins.cli.generation import OPTIONS, chat_request, parse_option
from plugins.cli.sanitize import clean
from transports.messages import ChatMessage, ChatRequest

HELP = """\
/clear             forget the conversation, keep the settings
/system [TEXT]     set the instructions; without TEXT: remove them
/set               show the settings
/set NAME [VALUE]  change one (/set temperature 0.2); without VALUE: default
/model [NAME]      show the model, or go on with another
/save FILE         write the conversation to a new file
/help              this list
/exit              leave, as Ctrl-D does
Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer.
A message that begins with / is sent as it is with a space before it."""


class CommandError(Exception):
    """A command was not understood or could not be done; the text says why."""


class Conversation:
    """The turns so far and how the next answer is to be generated."""

    def __init__(self, model: str, *, system: str = "", options: dict[str, object] | None = None) -> None:
        self.model = model
        self.system = system
        # Only those that were set; the others are left to the model.
        self.options = options or {}
        self.turns: list[ChatMessage] = []
        self.is_over = False

    def request(self, question: str) -> ChatRequest:
        """The request for the answer to *question*; the turn counts once `add` is called."""
        asked = ChatMessage(role="user", content=question)
        return chat_request((*self._opening(), *self.turns, asked), self.options)

    def add(self, question: str, answer: str) -> None:
        """Remember a turn; an answer that was stopped counts as far as it came."""
        self.turns += [
            ChatMessage(role="user", content=question),
            ChatMessage(role="assistant", content=answer),
        ]

    def execute(self, line: str) -> str:
        """Do a /command.

        Returns:
            What to tell the person; may be empty.

        Raises:
            CommandError: In one line.
        """
        word, _, argument = line.partition(" ")
        command = self._commands().get(word)
        if command is None:
            raise CommandError(f"unknown command {word}; /help lists them")
        return command(argument.strip())

    def _commands(self) -> dict[str, Callable[[str], str]]:
        return {
            "/help": lambda _: HELP,
            "/clear": self._clear,
            "/system": self._set_system,
            "/set": self._set,
            "/model": self._set_model,
            "/save": self._save,
            "/exit": self._exit,
            "/quit": self._exit,
        }

    def _clear(self, _: str) -> str:
        self.turns.clear()
        return "The conversation starts anew."

    def _set_system(self, text: str) -> str:
        self.system = text
        return "Set." if text else "No instructions any more."

    def _set(self, argument: str) -> str:
        name, _, text = argument.partition(" ")
        if not name:
            return "\n".join(f"{key:<20}{self.options.get(key, 'default')}" for key in OPTIONS)
        if name not in OPTIONS:
            raise CommandError(f"unknown setting {name}; there are {', '.join(OPTIONS)}")
        if not text:
            self.options.pop(name, None)
            return f"{name} is the default again."
        try:
            self.options[name] = parse_option(name, text.strip())
        except ValueError as e:
            raise CommandError(f"{name}: {e}") from None
        return f"{name} is {self.options[name]}."

    def _set_model(self, name: str) -> str:
        self.model = name or self.model
        return "" if name else self.model

    def _save(self, file: str) -> str:
        if not file:
            raise CommandError("/save needs the name of a file")
        path = Path(file).expanduser()
        text = f"# {self.model}\n" + "".join(
            f"\n## {turn.role}\n\n{clean(turn.text)}\n" for turn in (*self._opening(), *self.turns)
        )
        try:
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except (OSError, ValueError) as e:
            raise CommandError(f"{path}: {e.strerror if isinstance(e, OSError) else e}") from None
        return f"Saved to {path}."

    def _exit(self, _: str) -> str:
        self.is_over = True
        return ""

    def _opening(self) -> tuple[ChatMessage, ...]:
        return (ChatMessage(role="system", content=self.system),) if self.system else ()
