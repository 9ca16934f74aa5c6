"""The model as compiled programs for a server: `schedule`, `prefill`, `insert`, `step`, `take`, `vocode`.

Every shape is fixed when the object is made, every program compiled by `warm_up`; a call with any other shape raises.
Segments are padded to one of a few lengths (buckets); each bucket has a state of `slots` segments on the device.
Which of a server's threads may call what is said in each section's heading.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from numpy.typing import NDArray

from f5_tts_server.byte_lru import ByteLRU
from f5_tts_server.f5 import sampler
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.frontend import Reference, SegmentPlan
from f5_tts_server.f5.model import SpeechModel, backbone_inputs, cut_generated, from_backbone_scale, padded
from f5_tts_server.f5.placement import everywhere, in_order, over_slots, parameter_shardings, put
from f5_tts_server.f5.platform import Platform
from f5_tts_server.f5.unett import UNetT
from f5_tts_server.f5.vocoder import CarryingVocoder, Vocoder

_compilations = 0


def _count_compilation(event: str, duration_secs: float, **_: Any) -> None:
    global _compilations
    _compilations += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_count_compilation)


@dataclass(frozen=True)
class Schedule:
    """A time grid and what the backbone makes of it. Shared by all segments that use it; never donated."""

    times: NDArray[np.float32]  # [nfe], where each step begins
    dts: NDArray[np.float32]  # [nfe], how far it goes
    table: jax.Array  # [max_steps, c, d] modulations, rows beyond nfe unused

    @property
    def nbytes(self) -> int:
        """Memory it holds on the device."""
        return self.table.nbytes


Traced = Any
"""An array of NumPy where a program is called, of JAX within it."""


@partial(
    jax.tree_util.register_dataclass, data_fields=["conditional", "null", "start", "frames"], meta_fields=["bucket"]
)
@dataclass(frozen=True)
class Prefilled:
    """A segment's inputs on the device, not yet in a slot."""

    bucket: int
    conditional: jax.Array  # [n, d]
    null: jax.Array  # [n, d], zeros where no step is guided
    start: jax.Array  # [longest n, mel] noise
    frames: Traced  # int32


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Slots:
    """One bucket's slots on the device."""

    x: jax.Array  # [slots, n, mel] float32, where each flow is
    fixed: jax.Array  # [slots, 2, n, d] conditional and null inputs
    frames: jax.Array  # [slots] int32


@dataclass(frozen=True)
class State:
    """One bucket's slots, and how far the work on them is. A call that takes a state consumes its slots."""

    slots: Slots
    done: jax.Array  # ready when all work on the state so far is done; survives the slots' donation


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepInputs:
    """What a step is told of its rows, r of them; those that fill a program up have dt = 0."""

    slots: Traced  # int32 [r]; one past the last slot, which is written nowhere, where there is no row
    tables: tuple[jax.Array, ...]  # r times [max_steps, c, d], each row's schedule
    indices: Traced  # int32 [r], of the step in its schedule
    dts: Traced  # float32 [r]
    cfgs: Traced  # float32 [r], strength of guidance


class Row(Protocol):
    """What `step` reads of a row."""

    @property
    def slot(self) -> int: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def index(self) -> int: ...
    @property
    def cfg_strength(self) -> float: ...


class Mel:
    """Frames a flow has made, on their way from the device."""

    def __init__(
        self,
        device: jax.Array,
        plan: SegmentPlan,
        for_vocoder: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    ) -> None:
        device.copy_to_host_async()
        self._device, self._plan, self._for_vocoder = device, plan, for_vocoder
        # Where the vocoder can go on from: the frame that its next block begins with, and what it holds.
        self.carried: tuple[int, Any] | None = None

    @cached_property
    def frames(self) -> NDArray[np.float32]:
        """[frames, mel_dim]; asking for it blocks until the flow's last step is done."""
        return cut_generated(np.asarray(self._device), self._plan)

    @cached_property
    def vocoder_input(self) -> NDArray[np.float32]:
        """[frames, feature_channels] as the vocoder reads them."""
        return self._for_vocoder(self.frames)


class Programs:
    """One model, compiled for one mesh, one set of buckets and one number of slots.

    Args:
        model: weights on the host or a device, which are copied to the mesh; or shapes alone, to compile from.
        mesh: axes ("data", "model"). With shapes alone its devices need not be there: see `lowered`.
        buckets: padded lengths in frames.
        slots: segments that a bucket holds; a multiple of the mesh's data axis.
        step_sizes: rows that one step program advances. With several devices on the data axis it must be `(slots,)`:
            each device then advances the slots it holds and none travel.
        max_steps: longest schedule.
        vocode_block: frames that one vocoder call makes.
        cache_bytes: how much memory null passes and schedules may be kept in for reuse.
    """

    def __init__(
        self,
        model: SpeechModel,
        mesh: Mesh,
        *,
        buckets: Sequence[int],
        slots: int,
        step_sizes: Sequence[int],
        max_steps: int = 64,
        vocode_block: int = 64,
        cache_bytes: int = 256 << 20,
    ) -> None:
        data = mesh.shape["data"]
        if slots % data:
            raise ValueError(f"slots {slots} must be a multiple of the {data} devices on the mesh's data axis")
        if max(step_sizes) > slots or min(step_sizes) < 1:
            raise ValueError(f"step_sizes {tuple(step_sizes)} must lie between 1 and the {slots} slots")
        if data > 1 and tuple(step_sizes) != (slots,):
            raise ValueError(f"step_sizes must be ({slots},) where slots are spread over {data} devices")
        self.model = model
        self.frontend = model.frontend  # host work, preprocess thread
        self.mesh = mesh
        self.sample_rate, self.hop = model.config.mel.sample_rate, model.config.mel.hop
        self.buckets = tuple(sorted(buckets))
        self.slots = slots
        self.step_sizes = tuple(sorted(step_sizes))
        self.platform = Platform.of(mesh)
        # On a CPU one row already uses every core; elsewhere a turn may be as long as two full rows of the largest.
        one_row = self.platform.kind == "cpu"
        self.frame_budget = self.buckets[0] if one_row and data == 1 else 2 * self.buckets[-1]
        # Turns to dispatch before waiting for the oldest: keeps an accelerator busy; on a CPU host and device share cores.
        self.run_ahead = 0 if one_row else 1
        self.max_steps = max_steps
        self.vocode_block = vocode_block
        self._graph = _graph_for(model.backbone, self.platform)
        parameters = nnx.state(model.backbone)
        self._parameters = put(parameters, parameter_shardings(parameters, mesh))
        self._vocoder_graph, vocoder = nnx.split(model.vocoder)
        self._vocoder = put(vocoder, jax.tree.map(lambda _: everywhere(mesh), vocoder))
        self._compiled: dict[tuple[Any, ...], jax.stages.Compiled] = {}
        self._dtype = self.platform.activation_dtype(model.backbone.proj_out.w.get_value().dtype)
        # The unguided step is a program more for each shape: worth it only to a model that recommends no guidance.
        self._fewest_passes = 1 if model.config.sampling.cfg_strength == 0 else 2
        self._schedules: ByteLRU[Schedule] = ByteLRU(cache_bytes // 2)
        self._nulls: ByteLRU[jax.Array] = ByteLRU(cache_bytes // 2)

    @property
    def compile_count(self) -> int:
        """Programs that XLA has compiled, or found in its cache, in this process."""
        return _compilations

    @property
    def nbytes(self) -> int:
        """Memory held on the devices by the weights, the vocoder and the slots of all buckets."""
        config = self.model.config.backbone
        frame = 4 * config.mel_dim + 2 * config.dim * self._dtype.itemsize
        weights = sum(array.nbytes for array in jax.tree.leaves((self._parameters, self._vocoder)))
        return weights + self.slots * sum(self.buckets) * frame

    # Device work, preprocess thread ---------------------------------------------------------------------------------

    def schedule(self, nfe: int, sway: bool) -> Schedule:
        """The time grid for `nfe` steps (EPSS where there is one), with its modulations; cached."""
        if not 1 <= nfe <= self.max_steps:
            raise ValueError(f"the number of steps must lie between 1 and {self.max_steps}, not {nfe}")
        times = sampler.time_grid(nfe, -1.0 if sway else None)

        def make() -> Schedule:
            padded = np.zeros(self.max_steps, np.float32)
            padded[:nfe] = times[:-1]
            table = self._compiled["modulations",](self._parameters, padded)
            return Schedule(times[:-1], np.diff(times), table)

        return self._schedules.get(times.tobytes(), make)

    def prefill(
        self, plan: SegmentPlan, reference: Reference, *, seed: int, segment_index: int, guided: bool
    ) -> Prefilled:
        """Computes what no step of a segment changes. `seed` in 0 … 2³² − 1; `guided`: whether any step will be.

        Raises ValueError where the segment is longer than the largest bucket.
        """
        if plan.frames > self.buckets[-1]:
            raise ValueError(f"a segment of {plan.frames} frames does not fit the largest bucket of {self.buckets[-1]}")
        n = next(bucket for bucket in self.buckets if bucket >= plan.frames)
        config = self.model.config.backbone
        tokens, cond, frames = backbone_inputs(self.model.config, plan, reference, n)

        def make_null() -> jax.Array:
            if not guided:
                return jax.device_put(np.zeros((n, config.dim), self._dtype), everywhere(self.mesh))
            null: jax.Array = self._compiled["fix", n](self._parameters, tokens, cond, frames, np.True_)
            return null

        # The null pass sees neither words nor sound; of the text only its length, and that only where padding is masked.
        masked = config.text_mask_padding and config.conv_layers > 0
        null_key = b"%d %d %d" % (n, plan.frames, len(plan.tokens) if masked else 0) if guided else b"%d" % n
        return Prefilled(
            bucket=n,
            conditional=self._compiled["fix", n](self._parameters, tokens, cond, frames, np.False_),
            null=self._nulls.get(null_key, make_null),
            start=self._compiled["noise",](np.uint32(seed), np.uint32(segment_index)),
            frames=np.int32(plan.frames),
        )

    # Device work, inference thread ----------------------------------------------------------------------------------

    def new_state(self, bucket: int) -> State:
        """Empty slots for one bucket."""
        config, places = self.model.config.backbone, self._places
        slots = Slots(
            x=jax.device_put(np.zeros((self.slots, bucket, config.mel_dim), np.float32), places.x),
            fixed=jax.device_put(np.zeros((self.slots, 2, bucket, config.dim), self._dtype), places.fixed),
            # Attention over no key at all would be NaN.
            frames=jax.device_put(np.ones(self.slots, np.int32), places.frames),
        )
        return State(slots, done=jax.device_put(np.float32(0), everywhere(self.mesh)))

    def insert(self, state: State, prefilled: Prefilled, slot: int) -> State:
        """Puts a segment into a slot, at the noise its flow starts from. Donates `state`; `prefilled` stays."""
        return State(*self._compiled["insert", prefilled.bucket](state.slots, np.int32(slot), prefilled))

    def step(self, bucket: int, state: State, rows: Sequence[Row]) -> State:
        """Advances each row's slot by one Euler step; in one pass where that was compiled and no row is guided.

        Donates `state`; returns at once.

        Raises ValueError for no rows, more than the largest step size, or a slot twice.
        """
        slots = [row.slot for row in rows]
        if not rows or len(rows) > self.step_sizes[-1] or len(set(slots)) != len(slots):
            raise ValueError(f"a step takes 1 to {self.step_sizes[-1]} different slots, not {slots}")
        size = next(size for size in self.step_sizes if size >= len(rows))
        whole = size == self.slots  # every slot has its place: rows go where their slots are, the rest stand still
        dts, cfgs = np.zeros(size, np.float32), np.zeros(size, np.float32)
        indices = np.zeros(size, np.int32)
        targets = np.full(size, self.slots, np.int32)  # one past the end: written nowhere
        tables = [rows[0].schedule.table] * size
        for position, row in enumerate(rows):
            place = row.slot if whole else position
            dts[place], cfgs[place] = row.schedule.dts[row.index], row.cfg_strength
            indices[place], targets[place] = row.index, row.slot
            tables[place] = row.schedule.table
        passes = 2 if cfgs.any() else self._fewest_passes
        inputs = StepInputs(targets, tuple(tables), indices, dts, cfgs)
        return State(*self._compiled["step", bucket, size, passes](self._parameters, state.slots, inputs))

    def fence(self, state: State) -> Callable[[], object]:
        """A call that waits for the work dispatched on `state` so far and raises what it raised."""
        return state.done.block_until_ready

    def take(self, state: State, slot: int, plan: SegmentPlan) -> Mel:
        """The generated frames of a slot; does not wait. The state stays valid."""
        x = state.slots.x
        mel = self._compiled["take", x.shape[1]](x, np.int32(slot))
        return Mel(mel, plan, self._vocoder_input)

    # Device work, postprocess thread --------------------------------------------------------------------------------

    def clip_samples(self, frames: int) -> int:
        """Samples that `vocode` makes of a segment of this many generated frames."""
        return self.model.vocoder.clip_samples(frames)

    def vocode(self, mel: Mel, start: int, stop: int) -> NDArray[np.float32]:
        """Samples of the segment's generated frames start … stop, equal to the whole-clip decode; waits for them.

        The block that ends with the last frame is shorter where a clip has fewer samples than its frames have hops.
        """
        frames, vocoder = mel.vocoder_input, self.model.vocoder
        count = len(frames)
        if not 0 <= start < stop <= count:
            raise ValueError(f"frames {start} … {stop} do not lie within the segment's {count}")
        blocks = []
        for block in range(start, stop, self.vocode_block):
            if mel.carried is not None and mel.carried[0] == block:
                first = block + vocoder.context_right
                ahead = _window(frames, first, self.vocode_block)
                made = self._compiled["vocode", "next"](
                    self._vocoder, mel.carried[1], ahead, np.int32(first), np.int32(count)
                )
            else:
                first = block - vocoder.context_left
                window = _window(frames, first, self._window_frames)
                made = self._compiled["vocode", "open"](self._vocoder, window, np.int32(first), np.int32(count))
            samples, carry = made
            mel.carried = None if carry is None else (block + self.vocode_block, carry)
            blocks.append(np.asarray(samples)[0])
        samples = np.concatenate(blocks)[: (stop - start) * self.hop]
        return samples[: self.clip_samples(count) - start * self.hop]

    def _vocoder_input(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, mel_dim] → [n, feature_channels]."""
        vocoder, count, analysis = self.model.vocoder, len(frames), None
        if vocoder.analyses:
            width = next(width for width in self._analysed_widths if width >= count)
            clip, length = padded([frames], width), np.array([count], np.int32)
            found = self._compiled["analyse", width](self._vocoder, clip, length)
            analysis = jax.tree.map(lambda array: np.asarray(array)[0, :count], found)
        return vocoder.prepare(frames, analysis)

    @property
    def _analysed_widths(self) -> list[int]:
        """Frames that a whole segment is padded to: few for the first, which is waited for, all for others."""
        return sorted({self.buckets[0], self.buckets[-1]})

    @property
    def _places(self) -> Slots:
        """Where and how the arrays of a state lie, in their places.

        Left to itself a TPU's compiler puts slots innermost, and each step then copies the state of all. Its products
        give [b, n, mel] with frames innermost: 100 channels would take 128 places.
        """
        split = over_slots(self.mesh)
        flow = (0, 2, 1) if self.platform.kind == "tpu" else (0, 1, 2)
        places: Any = (in_order(split, *flow), in_order(split, 0, 1, 2, 3), split)
        return Slots(*places)

    @property
    def _window_frames(self) -> int:
        vocoder = self.model.vocoder
        return vocoder.context_left + self.vocode_block + vocoder.context_right

    # Compilation ----------------------------------------------------------------------------------------------------

    def warm_up(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compiles every program; nothing compiles afterwards.

        `progress` hears how many of how many are done, from any thread.
        """
        finished, total = itertools.count(1), self._program_count
        # XLA compiles one program on one core and lets go of the interpreter, which meanwhile traces the next ones.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            compiling = {}
            for key, lowered in self.lowered():
                compiling[key] = pool.submit(lowered.compile)
                compiling[key].add_done_callback(lambda _: progress(next(finished), total))
        self._compiled = {key: compiled.result() for key, compiled in compiling.items()}

    @property
    def _program_count(self) -> int:
        """How many `lowered` gives, which is known before they are traced."""
        analyses = len(self._analysed_widths) if self.model.vocoder.analyses else 0
        for_each_bucket = 3 + len(self.step_sizes) * (3 - self._fewest_passes)
        carried = isinstance(self.model.vocoder, CarryingVocoder)
        return 3 + carried + analyses + len(self.buckets) * for_each_bucket

    def lowered(self) -> Iterator[tuple[tuple[Any, ...], jax.stages.Lowered]]:
        """Every program's key and its trace."""
        config = self.model.config.backbone
        mel, d, slots = config.mel_dim, config.dim, self.slots
        whole, split, places = everywhere(self.mesh), over_slots(self.mesh), self._places
        parameters = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), self._parameters
        )
        vocoder = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), self._vocoder)
        dtype = self._dtype

        def shape(*sizes: int, of: Any = jnp.float32, on: Any = whole) -> Any:  # in an array's place
            return jax.ShapeDtypeStruct(sizes, of, sharding=on)

        integer, flag, unsigned = shape(of=jnp.int32), shape(of=jnp.bool_), shape(of=jnp.uint32)
        noise = shape(self.buckets[-1], mel)
        table = jax.eval_shape(self._modulations, parameters, shape(self.max_steps))
        table = shape(*table.shape, of=table.dtype)

        yield ("modulations",), jax.jit(self._modulations, out_shardings=whole).lower(parameters, shape(self.max_steps))
        for width in self._analysed_widths if self.model.vocoder.analyses else ():
            clip, length = shape(1, width, mel), shape(1, of=jnp.int32)
            yield ("analyse", width), jax.jit(self._analyse, out_shardings=whole).lower(vocoder, clip, length)
        window = shape(1, self._window_frames, self.model.vocoder.feature_channels)
        opened = jax.jit(self._open_block, out_shardings=whole).lower(vocoder, window, integer, integer)
        yield ("vocode", "open"), opened
        if isinstance(self.model.vocoder, CarryingVocoder):
            _, carry = jax.eval_shape(self._open_block, vocoder, window, integer, integer)
            carry = jax.tree.map(lambda a: shape(*a.shape, of=a.dtype), carry)
            ahead = shape(1, self.vocode_block, self.model.vocoder.feature_channels)
            following = jax.jit(self._next_block, out_shardings=whole)
            yield ("vocode", "next"), following.lower(vocoder, carry, ahead, integer, integer)
        yield ("noise",), jax.jit(self._noise, out_shardings=whole).lower(unsigned, unsigned)
        for n in self.buckets:
            state = Slots(
                shape(slots, n, mel, on=places.x),
                shape(slots, 2, n, d, of=dtype, on=places.fixed),
                shape(slots, of=jnp.int32, on=places.frames),
            )
            row = shape(n, d, of=dtype)
            prefilled = Prefilled(n, row, row, noise, integer)
            insert = jax.jit(_insert, donate_argnums=0, out_shardings=(places, whole))
            yield ("insert", n), insert.lower(state, integer, prefilled)
            yield ("take", n), jax.jit(self._take, out_shardings=whole).lower(state.x, integer)
            text, cond, length = shape(1, n, of=jnp.int32), shape(1, n, mel), shape(1, of=jnp.int32)
            fix = jax.jit(self._fix, out_shardings=whole)
            yield ("fix", n), fix.lower(parameters, text, cond, length, flag)
            for size in self.step_sizes:
                on = split if size == slots else whole
                indices, reals = shape(size, of=jnp.int32), shape(size, on=on)
                inputs = StepInputs(indices, (table,) * size, indices, reals, reals)
                for passes in range(self._fewest_passes, 3):
                    function = partial(_step_all if size == slots else _step_some, self._graph, passes, whole)
                    step = jax.jit(function, donate_argnums=1, out_shardings=(places, on))
                    yield ("step", n, size, passes), step.lower(parameters, state, inputs)

    def step_text(self, bucket: int, size: int) -> str:
        """The compiled guided step as XLA prints it, collectives and all."""
        return str(self._compiled["step", bucket, size, 2].as_text())

    def _backbone(self, parameters: nnx.State) -> sampler.Backbone:
        backbone: sampler.Backbone = nnx.merge(self._graph, parameters)
        return backbone

    def _modulations(self, parameters: nnx.State, times: jax.Array) -> jax.Array:
        return self._backbone(parameters).modulations(times)

    def _fix(
        self, parameters: nnx.State, tokens: jax.Array, cond: jax.Array, frames: jax.Array, null: jax.Array
    ) -> jax.Array:
        backbone = self._backbone(parameters)
        heard = jnp.where(null, 0.0, cond)
        return backbone.fix_inputs(heard, backbone.embed_text(tokens, frames, null))[0]

    def _noise(self, seed: jax.Array, segment_index: jax.Array) -> jax.Array:
        config = self.model.config
        return sampler.noise(seed, segment_index, self.buckets[-1], config.backbone.mel_dim, config.noise_scale)

    def _take(self, x: jax.Array, slot: jax.Array) -> jax.Array:
        return from_backbone_scale(self.model.config, x[slot])

    def _analyse(self, vocoder: nnx.State, mel: jax.Array, frames: jax.Array) -> Any:
        return nnx.merge(self._vocoder_graph, vocoder).analyse(mel, frames)

    def _open_block(
        self, vocoder: nnx.State, window: jax.Array, first: jax.Array, frames: jax.Array
    ) -> tuple[jax.Array, Any]:
        decoder: Vocoder = nnx.merge(self._vocoder_graph, vocoder)
        if isinstance(decoder, CarryingVocoder):
            return decoder.open_block(window, first, frames)
        return decoder.decode_block(window, first, frames), None

    def _next_block(
        self, vocoder: nnx.State, carry: Any, features: jax.Array, first: jax.Array, frames: jax.Array
    ) -> tuple[jax.Array, Any]:
        decoder: CarryingVocoder = nnx.merge(self._vocoder_graph, vocoder)
        return decoder.next_block(carry, features, first, frames)


def _graph_for(backbone: DiT | UNetT, platform: Platform) -> nnx.GraphDef[DiT | UNetT]:
    """The backbone's graph, compiled for the platform."""
    if backbone.platform != platform:
        make = partial(type(backbone), backbone.config, platform=platform)
        backbone = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    return nnx.graphdef(backbone)


def _insert(slots: Slots, slot: jax.Array, segment: Prefilled) -> tuple[Slots, jax.Array]:
    start = segment.start[: slots.x.shape[1]]
    inserted = Slots(
        x=slots.x.at[slot].set(start),
        fixed=slots.fixed.at[slot].set(jnp.stack([segment.conditional, segment.null])),
        frames=slots.frames.at[slot].set(segment.frames),
    )
    return inserted, start[0, 0]


def _step_all(
    graph: nnx.GraphDef[Any], passes: int, whole: NamedSharding, parameters: nnx.State, slots: Slots, inputs: StepInputs
) -> tuple[Slots, jax.Array]:
    """Row i is slot i, and slots that rest stand still."""
    x = _advanced(graph, passes, whole, parameters, slots, inputs)
    return replace(slots, x=x), x[:, 0, 0]


def _step_some(
    graph: nnx.GraphDef[Any], passes: int, whole: NamedSharding, parameters: nnx.State, slots: Slots, inputs: StepInputs
) -> tuple[Slots, jax.Array]:
    """Rows are taken from their slots and put back."""

    def taken(array: jax.Array) -> jax.Array:
        # By slices: where a gather wants another layout it copies the array of all slots first.
        rows = [jax.lax.dynamic_slice_in_dim(array, inputs.slots[i], 1) for i in range(len(inputs.tables))]
        return jnp.concatenate(rows)

    x = _advanced(graph, passes, whole, parameters, jax.tree.map(taken, slots), inputs)
    kept = slots.x
    for i in range(len(inputs.tables)):  # in place, where a scatter goes over all slots
        present = jax.lax.dynamic_slice_in_dim(kept, inputs.slots[i], 1)  # of the last slot where there is no row
        row = jnp.where(inputs.slots[i] < len(kept), x[i : i + 1], present)
        kept = jax.lax.dynamic_update_slice_in_dim(kept, row, inputs.slots[i], axis=0)
    return replace(slots, x=kept), x[:, 0, 0]


def _advanced(
    graph: nnx.GraphDef[Any], passes: int, whole: NamedSharding, parameters: nnx.State, rows: Slots, inputs: StepInputs
) -> jax.Array:
    """Where the rows' flows are one step later: [r, n, mel]."""
    modulation = jnp.stack([table[inputs.indices[i]] for i, table in enumerate(inputs.tables)])
    # Every device has the tables; the compiler would read them in shares and send those around.
    modulation = jax.lax.with_sharding_constraint(modulation, whole)
    backbone: sampler.Backbone = nnx.merge(graph, parameters)
    velocity = (
        sampler.guided_velocity(backbone, rows.x, rows.fixed, modulation, rows.frames, inputs.cfgs)
        if passes == 2
        else backbone.velocity(rows.x, rows.fixed[:, 0], modulation, rows.frames)
    )
    return rows.x + inputs.dts[:, None, None] * velocity


def _window(frames: NDArray[np.float32], first: int, width: int) -> NDArray[np.float32]:
    """`width` frames from `first` on, zero outside the clip, as a batch of one."""
    window = np.zeros((1, width, frames.shape[1]), np.float32)
    low, high = max(first, 0), min(first + width, len(frames))
    if low < high:
        window[0, low - first : high - first] = frames[low:high]
    return window
