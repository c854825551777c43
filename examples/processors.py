"""The processors of the README. Run with: actiond dev --processors examples/processors.py"""

from typing import Any

from pydantic import BaseModel

from actiond import SUDDEN_DEATH, Action, Batch, Failure, batch_processor, processor


class Welcome(BaseModel):
    to: str


@processor("welcome", retries=3, retry_interval="5 min", timeout="30 s")
async def welcome(action: Action[Welcome]) -> str:
    if "@" not in action.data.to:
        raise Failure("no address", SUDDEN_DEATH)
    return f"sent to {action.data.to} with key {action.idempotency_key}"


@batch_processor("send_receipt", batch_size=100)
async def send_receipts(batch: Batch[dict[str, Any]]) -> None:
    for action in batch:
        action.complete({"receipt": f"R-{action.data['order']}"})
