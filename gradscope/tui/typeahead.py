"""`TypeAhead`: keys take effect one after the other, however fast they come; what is pasted is typed."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterator

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.keys import ASCII_KEY_NAMES, KEY_NAME_REPLACEMENTS

_ROUNDS = 3  # a key leads to a message, that to another one, and that to what they ask for
_AGAIN = 0.02  # seconds until it is asked again whether the next key may be pressed
_PATIENCE = 25  # times that it is asked of one key


class TypeAhead(App[None]):
    """A key waits until what the key before it set going has come to rest: a window that opens, a step that is read."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Key] = deque()
        self._under_way = False  # what the last key set going may not be done
        self._rounds = 0  # that we still queue behind it
        self._waits = False
        self._pressed = self._asked_of = 0  # how many keys were; when it was last asked whether one is done
        self._patience = _PATIENCE

    # -- what subclasses say -------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether the next key would reach whom it is meant for."""
        return True

    def urgent(self, key: events.Key) -> bool:  # noqa: ARG002  # no key is, here
        """Whether a key must not wait."""
        return False

    def types_pasted(self) -> bool:
        """Whether what is pasted now is meant as keys."""
        return False

    # -- pressing ------------------------------------------------------------------------------------

    @property
    def typing(self) -> bool:
        """Whether a key waits."""
        return bool(self._typed)

    def forget_typed(self) -> None:
        """Drop the keys that wait."""
        self._typed.clear()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            if self.urgent(event):
                await super().on_event(event)
                return
            self._typed.append(event)
            await self._press()
        elif isinstance(event, events.Paste) and not event.is_forwarded and self.types_pasted():
            self._typed.extend(keys_of(event.text))
            await self._press()
        else:
            await super().on_event(event)

    async def _press(self) -> None:
        while self._typed and not self._rounds and self.ready():
            if self._under_way and not self._calm():
                self._rounds = _ROUNDS
                self._climb(self._pressed, self.focused or self.screen)
                break
            self._under_way = True
            self._pressed += 1
            await super().on_event(self._typed.popleft())
        if self._typed and not self._waits:
            self._waits = True
            self.set_timer(_AGAIN, self._press_again)

    async def _press_again(self) -> None:
        self._waits = False
        if self._rounds and self._pressed == self._asked_of:
            self._patience -= 1
            if not self._patience:  # a window was closed with our question in its queue
                self._rounds, self._under_way = 0, False
        else:
            self._asked_of, self._patience = self._pressed, _PATIENCE
        await self._press()

    def _calm(self) -> bool:
        """Whether no message is on the way that keys and messages bubble: then nothing is under way."""
        node: DOMNode | None = self.focused or self.screen
        while node is not None:
            if node.message_queue_size:
                return False
            node = node.parent
        return True

    def _climb(self, pressed: int, node: DOMNode | None) -> None:
        """Queue behind the messages of `node`, then of those above it."""
        while node is not None and node is not self:
            above = node.parent
            if node.call_later(self._climb, pressed, above):
                return
            node = above  # it is closed: nothing waits there
        self.call_later(self._arrived, pressed)

    async def _arrived(self, pressed: int) -> None:
        if pressed != self._pressed or not self._rounds:
            return
        self._rounds -= 1
        if self._rounds:
            self._climb(pressed, self.focused or self.screen)
        else:
            self._under_way = False
            await self._press()


def keys_of(text: str) -> Iterator[events.Key]:
    """The keys that would type `text`."""
    for character in text.replace("\r\n", "\n"):
        if character in "\r\n":
            yield events.Key("enter", "\r")
        elif character.isprintable():
            yield events.Key(_name(character), character)


def _name(character: str) -> str:
    """As Textual names the key of a character."""
    if character.isalnum():
        return character
    name = unicodedata.name(character, "").lower().replace("-", "_").replace(" ", "_")
    name = name or ASCII_KEY_NAMES.get(character, character)
    return KEY_NAME_REPLACEMENTS.get(name, name)
