"""Under which ids the metrics of a document are kept, without compiling the rest of it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from rewards.domain.program.binding import Plans
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import build_catalogue
from rewards.domain.program.compiling.metrics import build_metrics
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.compiling.tiers import qualification
from rewards.domain.program.models.base import span
from rewards.domain.program.models.document import Document
from rewards.domain.program.problems import Problems


def metric_ids(document: Document) -> dict[str, str]:
    """The ids of the metrics that are in order, by key; what tiers qualify by is one of them.

    The same definition has the same id in every document.
    """
    context = Context(document, Problems())
    catalogue = build_catalogue(context)
    scopes = Scopes(catalogue, ZoneInfo(document.program.timezone))
    metrics = build_metrics(context, catalogue, scopes, Plans(scopes.inputs_engine))
    if document.tiers is not None:
        qualifying = qualification(context, document.tiers, metrics, span(document.tiers.per))
        if qualifying is not None:
            metrics[qualifying.key] = qualifying
    return {key: metric.id for key, metric in metrics.items()}
