"""Commands between nodes: one struct for each kind, and the words of version 0.1 on the wire (S21)."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.core.commands import (
    Command,
    CompareCommand,
    DirectoryCommand,
    DrainCommand,
    EndedCommand,
    SupersededCommand,
    SurveyAnswerCommand,
    SurveyCommand,
)
from greenroom.model import Restriction


class CommandOf01(msgspec.Struct, frozen=True, kw_only=True):
    """As version 0.1 reads and writes all of them."""

    kind: str
    session_id: str = ""
    generation: int = 0
    reason: str = ""
    text: str = ""
    by_device: str | None = None
    by_device_name: str | None = None


PAIRS: list[tuple[Command, CommandOf01]] = [
    (SupersededCommand(session_id="s", generation=3), CommandOf01(kind="superseded", session_id="s", generation=3)),
    (
        EndedCommand(session_id="s", generation=3, reason="replaced", text="t", by_device="d", by_device_name="n"),
        CommandOf01(
            kind="ended", session_id="s", generation=3, reason="replaced", text="t", by_device="d", by_device_name="n"
        ),
    ),
    (DirectoryCommand(), CommandOf01(kind="directory")),
    (DrainCommand(), CommandOf01(kind="drain")),
    (DrainCommand(rate="2.5"), CommandOf01(kind="drain", text="2.5")),
    (
        SurveyCommand(number="1f", asker="n1", held="sockets"),
        CommandOf01(kind="report", session_id="1f", text="n1", reason="sockets"),
    ),
    (SurveyAnswerCommand(number="1f", piece="{}"), CommandOf01(kind="held", session_id="1f", text="{}")),
    (CompareCommand(), CommandOf01(kind="compare")),
]


@pytest.mark.parametrize(("new", "old"), PAIRS)
def test_nodes_of_both_versions_understand_each_other(new: Command, old: CommandOf01) -> None:
    assert msgspec.json.decode(msgspec.json.encode(new), type=CommandOf01) == old
    assert msgspec.json.decode(msgspec.json.encode(old), type=Command) == new


@pytest.mark.parametrize("data", [b'{"kind":"of the future"}', b"{}", b'{"kind":"ended"}'])
def test_a_kind_that_is_not_known_is_no_command(data: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=Command)


def test_what_a_node_says_of_restrictions_is_to_version_01_that_the_directory_changed() -> None:
    made = (Restriction(app="a", kind="cutoff", subject="p", before=7),)
    sent = msgspec.json.encode(DirectoryCommand(restrictions=made, before=3, after=5))
    assert msgspec.json.decode(sent, type=CommandOf01) == CommandOf01(kind="directory")
    assert msgspec.json.decode(sent, type=Command) == DirectoryCommand(restrictions=made, before=3, after=5)
