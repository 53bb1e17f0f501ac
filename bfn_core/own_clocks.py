"""A network that is told the time of each part: then any part may be known, and any unknown.

Mixed data shares one time in a BFN. If the network was instead trained at a time of its own for
each part, a part that is known stands at t = 1, one that is not at t = 0, and one call of the
network gives the law of each unknown part given all that is known. Nothing is approximated but the
network: with the perfect one it is Bayes' rule. A classifier and a filler of gaps come for free.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import (
    CategoricalParameters,
    Condition,
    Data,
    GaussianParameters,
    Parameters,
    first,
    over,
    per_example,
)
from bfn_core.checks import check_time, whole
from bfn_core.clocks import Retimed
from bfn_core.data.iris_and_wine import LABEL, LabelledTable, Scale
from bfn_core.distributions import Output
from bfn_core.flows import ContinuousFlow, DiscreteFlow
from bfn_core.infilling import check_there
from bfn_core.missing import MissingFlow
from bfn_core.mixed import MixedFlow
from bfn_core.model import BFN, _sum
from bfn_core.modes import evaluating
from bfn_core.networks.clocked import ClockedNetwork
from bfn_core.numerics import check_generator, single
from bfn_core.schedules import GeometricSchedule, QuadraticSchedule

# Where a part stands of which nothing is known. At 0 itself a flow of numbers asks no network (84);
# here a message has told about 1e-4 of what it will, and the belief is taken as it is at 0.
START = 1e-4

# Of a table's rows: σ₁ of its numbers, β(1) of its class, and by name the powers of the time by
# which numbers or the class may lag behind.
SIGMA_1, BETA_1 = 0.05, 3.0
PATHS = {"together": (1.0, 1.0), "class lags": (1.0, 3.0), "numbers lag": (3.0, 1.0)}


class OwnClocks(BFN):
    """A BFN of mixed data whose network reads a time for each part.

    Losses, samples and bills are as in `BFN`, with all parts at the same time, or on the way that
    `Retimed` schedules prescribe: the network is told each part's own clock.

    Args:
        flow: a MixedFlow.
        network: called as network(inputs, times), both dicts by part, times (B,); its raw output is
            a dict as for BFN.
    """

    flow: Any  # a MixedFlow

    def output(
        self, theta: Parameters, t: float | Tensor | dict[str, Any],
        *, condition: Condition = None,
    ) -> Output:
        """p_O(x | θ; t).

        Args:
            theta: the belief, for B examples.
            t: a time for all parts, or a dict with one for each; a number or (B,).
            condition: None.

        Raises:
            ValueError: a time outside [0, 1], a part without a time, or a condition.
        """
        if condition is not None:
            raise ValueError("condition must be None: what is known stands at time 1")
        flows = self.flow.flows
        if isinstance(t, dict) and t.keys() != flows.keys():
            raise ValueError(f"t must have the names {list(flows)}, got {list(t)}")
        inputs = self.flow.network_input(theta)
        like = first(inputs)
        if (weights := self._weights) is not None:
            inputs = over(lambda part: part.to(weights.dtype), inputs)
        times = {}
        for name, flow in flows.items():
            own = t[name] if isinstance(t, dict) else t
            check_time(own)
            own = per_example(own, like).reshape(-1).expand(len(like))
            if isinstance(flow.schedule, Retimed):
                own = flow.schedule.clock(own)
            times[name] = own if weights is None else own.to(weights.dtype)
        return self.flow.trusting().output(over(single, self.network(inputs, times)), theta, t)

    def loss_apart(self, x: Data, *, generator: Generator | None = None) -> Tensor:
        """One draw of what trains it, (B,), in nats: the cost of the unknown parts at many clocks.

        Of each example a share p of the parts is known, p uniform: those stand at t = 1 and cost
        nothing. The others are at one time in half of the examples, else at a time for each.
        """
        x, like, _ = self._taken(x)
        count, names = len(first(x)), list(self.flow.flows)
        options: Any = {"generator": generator, "dtype": like.dtype, "device": like.device}
        check_generator(generator, like.device)
        share, together, one = (torch.rand(count, 1, **options) for _ in range(3))
        known = torch.rand(count, len(names), **options) < share
        t = torch.where(together < 0.5, one, torch.rand(count, len(names), **options))
        t = torch.where(known, 1.0, t)
        times = dict(zip(names, t.unbind(1), strict=True))
        # Parts that have a flow in common go through it together, as if they were more examples.
        groups, inputs, told = _alike(self.flow.flows, x), {}, []
        for own, group in groups:
            own = own.trusting()
            all_x, at = torch.cat([x[name] for name in group]), torch.cat([times[n] for n in group])
            theta = own.sample_flow(all_x, at, generator)
            inputs |= zip(group, own.network_input(theta).chunk(len(group)), strict=True)
            told.append((own, all_x, at, theta))
        raw, cost = self.network(inputs, times), like.new_zeros(count)
        for (_, group), (own, all_x, at, theta) in zip(groups, told, strict=True):
            output = own.output(torch.cat([raw[name] for name in group]), theta, at)
            each = _sum(own.rate_cost(all_x, output, at)).reshape(len(group), count).T
            unknown = ~known[:, [names.index(name) for name in group]]
            cost = cost + (each * unknown).sum(1)
        return cost


def _alike(flows: dict[str, Any], x: dict[str, Tensor]) -> list[tuple[Any, list[str]]]:
    """Flows, and the names of the parts that have this flow and the same shape."""
    groups: dict[Any, tuple[Any, list[str]]] = {}
    for name, flow in flows.items():
        groups.setdefault((id(flow), x[name].shape), (flow, []))[1].append(name)
    return list(groups.values())


def certain(flow: Any, x: Tensor) -> Parameters:
    """The belief at t = 1 in which the noise happened to be 0: about x, and as sharp as it gets.

    Of what is absent, in a `MissingFlow`, about any value.
    """
    if isinstance(flow, MissingFlow):
        return certain(flow.inner, flow.parts(x)[0])
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    ones = torch.ones(len(x), dtype=dtype, device=x.device)
    if isinstance(flow, DiscreteFlow):
        theta = flow.prior(x.shape, dtype=dtype, device=x.device)
        told = flow.beta(1.0) * flow.classes
        return CategoricalParameters((theta.logits + told * torch.nn.functional.one_hot(
            x, flow.classes)).log_softmax(-1))
    return GaussianParameters(flow.gamma(1.0) * x, ones * (1 + flow.beta(1.0)))


def _mix(known: Tensor, theta: Parameters, other: Parameters) -> Parameters:
    """The first belief where `known`, (B,), else the second."""
    parts = [torch.where(_along(known, a), a, b)
             for a, b in zip(vars(theta).values(), vars(other).values(), strict=True)]
    return type(theta)(*parts)


def _along(known: Tensor, like: Tensor) -> Tensor:
    """(B,), ready to broadcast against `like`, (B, …)."""
    return known.reshape(-1, *[1] * (like.dim() - 1))


def _for_each(known: bool | Tensor, x: Tensor) -> Tensor:
    """Whether a part is known, of each example: (B,), where x is."""
    return torch.as_tensor(known, device=x.device).expand(len(x))


def knowing(
    flow: Any, x: Data, known: dict[str, bool | Tensor]
) -> tuple[Parameters, dict[str, Tensor]]:
    """The belief, and each part's time, of whoever knows some parts and nothing of the others.

    Args:
        flow: a MixedFlow.
        x: data, (B, *shape) for each part; what is not known is not looked at.
        known: by part, for all examples or for each, (B,).

    Returns:
        θ and t, dicts by part, for `OwnClocks.output`.

    Raises:
        ValueError: x is not data of the flow, other names in `known`, or a part that is known and
            absent.
    """
    flow.check(x)
    if known.keys() != flow.flows.keys():
        raise ValueError(f"known must have the names {list(flow.flows)}, got {list(known)}")
    theta, times = {}, {}
    for name, part in flow.flows.items():
        own = _for_each(known[name], x[name])
        check_there(part, x[name], _along(own, x[name]))
        sure = certain(part, x[name])
        nothing = part.prior(x[name].shape, dtype=first(sure).dtype, device=x[name].device)
        theta[name] = _mix(own, sure, nothing)
        times[name] = torch.where(own, 1.0, START)
    return theta, times


def row_belief(
    bfn: OwnClocks, x: dict[str, Tensor], known: dict[str, bool], t: float, seed: int = 0
) -> tuple[Parameters, dict[str, Tensor]]:
    """The belief about rows, and each column's time: known columns at 1, the others told until t.

    Args:
        bfn: of columns that are told apart.
        x: rows, (B, *shape) of each column.
        known: by column.
        t: in [0, 1]; nothing of the others is told where it is not above START.
        seed: of the noise, which is the same for a column whichever others are known.

    Returns:
        θ and t, dicts by column, for `OwnClocks.output`.

    Raises:
        ValueError: see `knowing`.
    """
    theta, times = knowing(bfn.flow, x, {**known})
    rng = torch.Generator(first(x).device).manual_seed(seed)
    for name, flow in bfn.flow.flows.items():
        heard = flow.sample_flow(x[name], max(t, START), rng)  # always: one noise for all
        if not known[name] and t > START:
            theta[name], times[name] = heard, torch.full_like(times[name], t)
    return theta, times


@torch.no_grad()
def expect(bfn: OwnClocks, x: Data, known: dict[str, bool | Tensor]) -> Output:
    """What is to be expected of each unknown part given the known ones, in one network call.

    The law of each by itself, p(x_j | x_known): of a number its mean, of a class probabilities. Of
    what is known it is what the network makes of it. Arguments as for `knowing`.
    """
    theta, times = knowing(bfn.flow, x, known)
    with evaluating(bfn):
        return bfn.output(theta, times)


@torch.no_grad()
def complete(
    bfn: OwnClocks, x: Data, known: dict[str, bool | Tensor], n_steps: int,
    *, generator: Generator | None = None,
) -> Data:
    """Draw the unknown parts together, given the known ones: x with what was drawn filled in.

    Known parts stand at t = 1 while the clock of the others runs, with n_steps messages of the
    receiver's, as in the paper's sampler. Arguments as for `knowing`.

    Raises:
        ValueError: as for `knowing`, or n_steps below 1.
    """
    n, flow = whole("n_steps", n_steps), bfn.flow
    sure, _ = knowing(flow, x, known)
    theta = sure
    own = {name: _for_each(k, x[name]) for name, k in known.items()}
    with evaluating(bfn):
        for i in range(n + 1):
            t = max(i / n, START)
            times = {name: torch.where(k, 1.0, t) for name, k in own.items()}
            output = bfn.output(theta, times)
            if i == n:
                break
            alpha = flow.alpha(i + 1, n)
            y = flow.receiver(output, alpha).sample(generator=generator)
            heard = flow.update(theta, y, alpha)
            theta = {name: _mix(k, sure[name], heard[name]) for name, k in own.items()}
    drawn = output.sample(generator=generator)
    return {name: torch.where(_along(k, x[name]), x[name], drawn[name]) for name, k in own.items()}


def table_flow(table: LabelledTable, path: str = "together") -> MixedFlow:
    """A part for each column; by the powers of `PATHS` numbers or the class may lag behind."""
    one, other = PATHS[path]
    numbers = ContinuousFlow(schedule=Retimed(GeometricSchedule(SIGMA_1), one))
    kinds = DiscreteFlow(len(table.classes), schedule=Retimed(QuadraticSchedule(BETA_1), other))
    if path == "together":
        numbers, kinds = ContinuousFlow(SIGMA_1), DiscreteFlow(len(table.classes), BETA_1)
    return MixedFlow(**dict.fromkeys(table.names, numbers), **{LABEL: kinds})


def table_model(
    table: LabelledTable, scale: Scale, *, hidden: int = 96, depth: int = 2
) -> OwnClocks:
    """An untrained model of a table's rows."""
    flow = table_flow(table)
    spread = dict(zip(table.names, scale.scaled(table.numbers).std(0).tolist(), strict=True))
    network = ClockedNetwork(ContinuousFlow(SIGMA_1).gamma, spread, {LABEL: len(table.classes)},
                           hidden=hidden, depth=depth)
    return OwnClocks(flow, network)
