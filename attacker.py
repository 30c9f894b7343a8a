"""A malicious hospital's Flower app, for simulations only: `client.py`, but for how it trains and votes.

`main.py simulate --attack` runs it in place of `client.py`. A hospital attacks where its folder has orders to; without
them it is honest. No bundle for hospitals on hosts of their own has this file.
"""

import os

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import client
from fedward.backdoor.attacks.orders import Orders, read_orders
from fedward.backdoor.inspection import Inspection
from fedward.errors import EvidenceError
from fedward.folders.outgoing_log import leaving
from fedward.folders.own_folder import own_folder
from fedward.types import DetectorReport, GlobalModel, ModelUpdate, SampledUpdate

app = ClientApp()
app.query("answers")(client.answer)
app.query("release")(client.release)


@app.train()
@leaving
def take_part(message: Message, context: Context) -> Message:
    """Answer the opening of a round with a signed, encrypted update, honest or not."""
    return client.answer_opening(_kind(context), message, context)


@app.evaluate()
@leaving
def judge(message: Message, context: Context) -> Message:
    """Answer an aggregate with a signed vote, honest or not."""
    return client.answer_aggregate(_kind(context), message, context)


class Attacker(client.Hospital):
    """A hospital that attacks from some round on; what it sends passes every later stage as an honest update does."""

    def train(self, model: GlobalModel, round_index: int) -> ModelUpdate | SampledUpdate:
        """Poison the update, once the attack has begun."""
        orders = self._orders()
        if round_index < orders.first_round:
            return super().train(model, round_index)
        from fedward.backdoor.attacks.registry import attack_from  # see `client.Hospital.classifier`
        from fedward.local_update import local_update

        attack = attack_from(orders.attack, orders.part())
        return attack(local_update)(self.partition, model, self.classifier(), self.settings, round_index)

    def detect(self, inspection: Inspection) -> tuple[DetectorReport, ...]:
        """Find nothing, once the attack has begun: an attacker votes for its own candidate."""
        return super().detect(inspection) if inspection.round_index < self._orders().first_round else ()

    def _orders(self) -> Orders:
        orders = read_orders(self.folder)
        if orders is None:
            raise EvidenceError("This hospital has no orders to attack.", "Start the simulation anew.")
        return orders


def _kind(context: Context) -> type[client.Hospital]:
    folder = own_folder(context.node_config, os.environ)
    return Attacker if read_orders(folder) is not None else client.Hospital
