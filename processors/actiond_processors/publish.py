"""A processor that sends notifications: NOTIFY on a channel that an operator chose.

    insert into actiond.processor (name, uses, config)
    values ('order_changed', 'publish', '{"channel": "orders", "payload": "${data.order}"}');

The notifications and the outcomes commit together: who listens hears of an action exactly if it is completed. A
payload that is too large, or lacks a value, fails its row alone and for good.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from actiond import SUDDEN_DEATH, Action, Batch, Failure, Processor, Statements, batch_processor
from actiond_processors.config import Config, read
from actiond_processors.template import Template

PAYLOAD_MAX = 7999  # bytes: Postgres takes no more
CHANNEL_MAX = 63
_sql = Statements()


class PublishConfig(Config):
    """Fields of the config of `publish`."""

    channel: str = Field(min_length=1, description="The channel to notify; none of actiond's own, except actiond_wake.")
    payload: str | None = Field(
        None, description='What is sent: text with placeholders, as "${data.order}". Default: `data` as JSON.'
    )

    @field_validator("channel")
    @classmethod
    def _may_be_used(cls, channel: str) -> str:
        if len(channel.encode()) > CHANNEL_MAX or not channel.isprintable():
            raise ValueError(f"a channel has up to {CHANNEL_MAX} bytes that can be printed")
        if channel.startswith("actiond_") and channel != "actiond_wake":
            raise ValueError(f"{channel!r} is one of actiond's own channels")
        return channel

    @field_validator("payload")
    @classmethod
    def _is_a_template(cls, payload: str | None) -> str | None:
        if payload is not None:
            Template(payload)
        return payload


def make(name: str, config: dict[str, Any]) -> Processor:
    """From a row of actiond.processor. ProcessorInvalid names the field that is wrong."""
    checked = read(PublishConfig, name, config)
    template = None if checked.payload is None else Template(checked.payload)

    async def publish(batch: Batch[Any]) -> None:
        async with batch.transaction() as connection:
            payloads = []
            for action in batch:
                try:
                    payloads.append(_payload(action, template))
                except Failure as failure:
                    action.fail(failure.failed.error, failure.failed.behavior)
                else:
                    action.complete()
            await connection.execute(_sql["publish"], checked.channel, payloads)

    return batch_processor(name)(publish)


def _payload(action: Action[Any], template: Template | None) -> str:
    payload = action.row.data if template is None else template.fill(action)
    size = len(payload.encode())
    if size > PAYLOAD_MAX:
        raise Failure(
            f"the payload has {size} bytes, and a notification takes {PAYLOAD_MAX}: send a key "
            'with config "payload", and let the listener read the record',
            SUDDEN_DEATH,
        )
    return payload
