"""The protocols of other servers."""

from __future__ import annotations

from benchmarks.peers.dialects import CentrifugoDialect
from greenroom.bench.dialect import Said


def test_centrifugos_messages_are_read_also_where_several_come_in_one_frame() -> None:
    dialect = CentrifugoDialect()
    join = b'{"push":{"channel":"participant:#1","join":{}}}'
    for message, said in (
        (b'{"id":1,"connect":{"client":"x"}}', Said.DONE),
        (join + b'\n{"id":1,"connect":{}}', Said.DONE),
        (b'{"id":1,"error":{"code":103}}', Said.REFUSED),
        (join + b'\n{"id":3,"error":{"code":103}}', Said.REFUSED),
        (join, Said.NOTICE),
        (b"{}", Said.PING),
    ):
        assert dialect.kind(message) is said, message
    assert b'"channel":"changes:bench-0"' in dialect.watch(["bench-0"])
    assert b'"channel":"changes:bench-0"' in dialect.rename("Anna")
