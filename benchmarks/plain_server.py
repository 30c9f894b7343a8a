"""The server of plain FedAvg, for `benchmarks/round_overhead.py`: Flower's own strategy, polled as often as ours."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedward.folders.server import ServerFolder
from fedward.messages.exchange import exchange
from fedward.settings import from_run_config

app = ServerApp()

INITIAL_WEIGHTS = "initial.npy"  # in the server's folder


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Lead as many rounds as the settings ask for, all hospitals in each."""
    settings = from_run_config(context.run_config)
    run, hospitals = ServerFolder(Path(settings.run.folder)), settings.data.hospitals
    strategy = ToldFedAvg(min_train_nodes=hospitals, min_evaluate_nodes=hospitals, min_available_nodes=hospitals)
    strategy.run = run
    polled: Any = PolledGrid(grid, settings.speed.poll_interval_s)
    strategy.start(polled, ArrayRecord([np.load(run.path / INITIAL_WEIGHTS)]), num_rounds=settings.training.rounds)
    run.log_progress("finished")


class ToldFedAvg(FedAvg):
    """FedAvg that writes to the server's folder when a round opens and when it has ended."""

    run: ServerFolder

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg's, which waits for the hospitals; the first step of a round."""
        messages = super().configure_train(server_round, arrays, config, grid)
        self.run.log_progress("opened", round=server_round)
        return messages

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As FedAvg's; the last step of a round."""
        metrics = super().aggregate_evaluate(server_round, replies)
        self.run.log_progress("closed", round=server_round, val_loss=metrics and metrics["loss"])
        return metrics


class PolledGrid:
    """Flower's grid, without its three seconds of sleep between polls for replies."""

    def __init__(self, grid: Grid, poll_interval_s: float) -> None:
        self._grid, self._poll_interval_s = grid, poll_interval_s

    def get_node_ids(self) -> Iterable[int]:
        """The connected nodes."""
        return self._grid.get_node_ids()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float) -> Iterable[Message]:
        """All replies, polled for as the secure server does."""
        found = exchange(
            self._grid, list(messages), self._poll_interval_s, timeout, lambda reply: reply, lambda _node, _reply: None
        )
        return [reply for _, reply in found]
