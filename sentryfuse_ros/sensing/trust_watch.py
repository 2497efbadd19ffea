"""Whether one sensor is believed, from the verdicts on its windows: a lie takes its bit away, and it returns as after a fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind
from .liveness import State, Status
from .quantities import judged_span_s, quantities
from .trust_table import Judgement, Plausibility, TrustTable

OFF, WARN, MASK = "off", "warn", "mask"  # values of the parameter `trust`
# At least so much new data between two judgements, because windows that hardly differ say the same: while the last ones said that
# something changes, and otherwise, when a judgement costs more than it is likely to tell. A picture costs most; with a pause of
# a second, and `EVIDENCE_S` after it, a lie would be noticed too late.
PAUSE_S, CALM_PAUSE_S, CALM_PICTURE_PAUSE_S = 0.15, 0.35, 0.45
MEMORY_S = 5.0  # an implausible window counts for so long, if those after it do not disprove its lie
EVIDENCE_S = 0.8  # of data must be implausible: less than half of a window of steps, of pictures as many as come meanwhile
HOLE_STEPS = 4  # between two rows; what is interpolated over more says nothing of the sensor
# What a window counts on the way back; one that is NEAR and disproves the lie that took the bit away counts 1. One that says
# nothing of that lie counts a little, so that nobody is distrusted for ever.
FAR_WORTH, POSSIBLE_WORTH = 0.1, 0.03
UNDECIDED = "the newest data neither show nor disprove it"  # end of the reason, while windows say nothing of the lie


class TrustWatch:
    """Judges the windows of one sensor with the table of its model input.

    With ``masks``, ``bad_windows`` implausible ones, over `EVIDENCE_S` of data, make it distrusted if none between them disproves
    the lie. ``good_windows`` good ones bring it back; if it looked like a known lie, they must disprove it.
    As many windows in a row that are FAR are warned of.
    """

    def __init__(self, spec: ModalitySpec, table: TrustTable, masks: bool, bad_windows: int, good_windows: int):
        self._spec, self._table, self._masks = spec, table, masks
        self._bad_windows, self._good_windows = bad_windows, good_windows
        self._span_ns = round(judged_span_s(spec) * NS_PER_S)
        kind = sensor_kind(spec.kind)
        self._calm_pause_s = CALM_PICTURE_PAUSE_S if kind.made_of_frames else CALM_PAUSE_S
        fills_holes = not kind.made_of_frames and not kind.row_rate_option
        self._longest_hole_ns = round(HOLE_STEPS * spec.window_s / spec.shape[0] * NS_PER_S) if fills_holes else 0
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        """Believe the sensor, as after a jump of the clock."""
        self.resets += 1
        self.distrusted = False
        self._warned = False
        self._judged_ns = 0  # newest row of the window judged last
        self._bad_run = self._far_run = self._near_run = 0
        self._bad_from_ns = self._bad_ns = 0  # oldest row of the first of the bad windows, newest of the last
        self._lie = ""  # known lie that the implausible windows look like
        self._good = 0.0
        self._disproved = False  # whether a window on the way back counted 1
        self._good_from_ns = 0  # first row of the first window on the way back that counts 1, or of the first of all
        self._text = ""  # of the last window that was not near
        self._undecided = False  # whether the last window says nothing of the lie that the sensor is distrusted for

    def due(self, newest_ns: int) -> bool:
        """Whether a window whose newest row is at ``newest_ns`` should be judged."""
        pause_s = PAUSE_S if self.changing else self._calm_pause_s
        return newest_ns - self._judged_ns >= pause_s * NS_PER_S or newest_ns < self._judged_ns

    @property
    def changing(self) -> bool:
        """Whether more windows like the last one would change what is said of the sensor."""
        towards_trust = self._good > 0 if self.distrusted else self._bad_run > 0
        towards_warning = self._near_run > 0 if self._warned else self._far_run > 0
        return towards_trust or towards_warning

    def waiting_ns(self, newest_ns: int) -> int:
        """How much new data there is since the last judgement."""
        return newest_ns - self._judged_ns

    def weigh(self, x: np.ndarray) -> Judgement | None:
        """Judge a window (`spec.shape`); None where there is too little data.

        What follows from it is for `follow`. This may take more than a millisecond and changes nothing: any thread may do it.
        """
        found = quantities(self._spec, x)
        return None if found is None else self._table.judge(found)

    def follow(self, newest_ns: int, judgement: Judgement | None) -> None:
        """Take the judgement of a window whose newest row is at ``newest_ns``. Without one, nothing changes."""
        self._judged_ns = newest_ns
        if judgement is None:
            return
        self._follow_warning(judgement)
        if self._masks and judgement.verdict == Plausibility.IMPLAUSIBLE:
            if not self._bad_run or newest_ns - self._bad_ns > MEMORY_S * NS_PER_S:
                self._bad_run = 0
                self._bad_from_ns = newest_ns - self._span_ns
                self._lie = self._lie if self.distrusted else ""
            self._bad_run += 1
            self._bad_ns = newest_ns
            self._good, self._disproved = 0.0, False
            self._lie = judgement.lie or self._lie
            self._undecided = False
            lasts = newest_ns - self._bad_from_ns >= EVIDENCE_S * NS_PER_S
            self.distrusted = self.distrusted or (lasts and self._bad_run >= self._bad_windows)
            return
        self._undecided = self._lie in judgement.possible
        if not self._undecided or newest_ns - self._bad_ns > MEMORY_S * NS_PER_S:
            self._bad_run = 0
        if self.distrusted:
            full = FAR_WORTH if judgement.verdict == Plausibility.FAR else 1.0
            worth = POSSIBLE_WORTH if self._undecided else full
            if not self._good or (worth == 1.0 and not self._disproved):
                self._good_from_ns = newest_ns - self._span_ns
            self._disproved = self._disproved or worth == 1.0
            self._good += worth
            if self._good >= self._good_windows - 1e-6:
                self.distrusted = False

    def has_holes(self, row_stamp_ns: np.ndarray) -> bool:
        """Whether steps of the judged part of a window with rows at these stamps (k,) were made up between rows that are far from
        each other, or there are no rows. Such a window is not judged."""
        if not self._longest_hole_ns:
            return False
        if not len(row_stamp_ns):  # one of several topics has none yet up to the newest row of the others
            return True
        judged = row_stamp_ns[np.searchsorted(row_stamp_ns, int(row_stamp_ns[-1]) - self._span_ns) :]
        return len(judged) < 2 or int(np.diff(judged).max()) > self._longest_hole_ns

    @property
    def good_from_ns(self) -> int:
        """Stamp before which rows are not believed [ns], once the sensor has come back."""
        return self._good_from_ns

    def _follow_warning(self, judgement: Judgement) -> None:
        if judgement.verdict == Plausibility.NEAR:
            self._far_run = 0
            self._near_run += 1
            if self._near_run >= self._good_windows:
                self._warned = False
            return
        self._text = judgement.text
        self._near_run = 0
        self._far_run += 1
        self._warned = self._warned or self._far_run >= self._bad_windows

    def apply(self, status: Status) -> Status:
        """The status of the sensor, given what liveness says. Whatever liveness has against it comes first."""
        if status.state != State.OK:
            return status
        if self.distrusted:
            if (plausible := int(self._good + 1e-6)) and not self._undecided:
                reason = f"{plausible} of {self._good_windows} plausible windows after IMPLAUSIBLE"
                return replace(status, state=State.RECOVERING, reason=reason, alarm=True)
            reason = f"{self._text}; {UNDECIDED}" if self._undecided else self._text
            return replace(status, state=State.IMPLAUSIBLE, reason=reason, alarm=True)
        if self._warned:
            return replace(status, reason=f"unlike what the model was trained on: {self._text}", suspect=True)
        return status
