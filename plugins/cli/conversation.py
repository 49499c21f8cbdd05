"""A conversation in `mlxd chat`: its turns, its settings and its /commands.

Knows no terminal and no kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from plugins.cli.generation import OPTIONS, chat_request, parse_option
from plugins.cli.pasted import find_files
from plugins.cli.picture_messages import user_message
from plugins.cli.sanitize import clean
from plugins.media.picture import Picture
from transports.messages import ChatMessage, ChatRequest, ImagePart

HELP = """\
/clear             forget the conversation, keep the settings
/system [TEXT]     set the instructions; without TEXT: remove them
/set               show the settings
/set NAME [VALUE]  change one (/set temperature 0.2); without VALUE: default
/model [NAME]      show the model, or go on with another
/image FILE|URL    send a picture, or the pages of a PDF, with the next message
/paste             send the picture in the clipboard with the next message
/save FILE         write the conversation to a new file
/help              this list
/exit              leave, as Ctrl-D does
Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer.
A message that begins with / is sent as it is with a space before it.
A path of a picture or PDF in a message, also a dropped one, sends the file."""
# Done where there is a kernel: `chat_pictures.py`.
PICTURE_COMMANDS = ("/image", "/paste")


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
        # Those that the turns count, and after them those of the next question.
        self.pictures: list[Picture] = []
        self._num_asked = 0
        self.is_over = False

    def request(self, question: str) -> ChatRequest:
        """The request for the answer to *question*; the turn counts once `add` is called."""
        return chat_request((*self._opening(), *self.turns, self._asked(question)), self.options)

    def add(self, question: str, answer: str) -> None:
        """Remember a turn; an answer that was stopped counts as far as it came."""
        self.turns += [self._asked(question), ChatMessage(role="assistant", content=answer)]
        self._num_asked = len(self.pictures)

    def attach(self, pictures: Sequence[Picture]) -> None:
        """Have the next question be about these."""
        self.pictures += pictures

    def is_command(self, line: str) -> bool:
        """Whether *line* is a /command, and not the path of a file that was dropped."""
        if not line.startswith("/"):
            return False
        word = line.split(maxsplit=1)[0]
        return word in PICTURE_COMMANDS or word in self._commands() or not find_files(line)[1]

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
        self.pictures.clear()
        self._num_asked = 0
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
            f"\n## {turn.role}\n\n{_images(turn)}{clean(turn.text)}\n"
            for turn in (*self._opening(), *self.turns)
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

    def _asked(self, question: str) -> ChatMessage:
        return user_message(question, range(self._num_asked, len(self.pictures)))

    def _opening(self) -> tuple[ChatMessage, ...]:
        return (ChatMessage(role="system", content=self.system),) if self.system else ()


def _images(turn: ChatMessage) -> str:
    """A line for the pictures of a turn; their files may be gone when somebody reads it."""
    num_images = sum(isinstance(part, ImagePart) for part in turn.content)
    return f"({num_images} {'images' if num_images > 1 else 'image'})\n\n" if num_images else ""
