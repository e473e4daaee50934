"""Every world that agents are scored in, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jurat.streams.score_disputes import DISPUTES
from jurat.streams.score_dunning import RENEWALS
from jurat.streams.score_marketplace import RETRIES, ROUTING
from jurat.streams.score_notices import NOTICES
from jurat.streams.score_promises import PROMISING
from jurat.streams.score_ranking import RANKING
from jurat.streams.score_retention import KEEPING
from jurat.streams.score_trust import TRUST
from jurat.streams.score_upgrades import UPGRADES
from jurat.streams.score_world import World

WORLDS: Final[Mapping[str, World]] = {
    world.name: world
    for world in (
        DISPUTES,
        KEEPING,
        NOTICES,
        PROMISING,
        RANKING,
        RENEWALS,
        RETRIES,
        ROUTING,
        TRUST,
        UPGRADES,
    )
}
