"""The microphone: sound computed from wheel loads, slip and motor speed by the physics of the contact with the ground.

Every patch under a wheel contributes texture that rolls through the contact, loose grains that knock, blades that are
brushed aside, rubber that scrubs, and panels that ring under changing loads. Chassis, motors and wind are added. The
radiation constants below are the same for every ground; only the patch's `Ground` and the motion differ.
"""

from __future__ import annotations

import numpy as np

from .footing import TYRE_STIFFNESS_KN_M, wheel_stiffness
from .ground import Ground
from .imu import GEAR_RATIO
from .nuisances import Nuisances
from .robot import LOAD, STEP_S, TORQUE, WHEEL_SPEED, wheel_motion
from .worlds import World

RATE_HZ = 16000
STEP_SAMPLES = round(RATE_HZ * STEP_S)
_FFT = 8192  # room for a block of up to 0.25 s and for the ringing after it
LEAD_SAMPLES = 640  # the filters respond this long before their cause, so `samples` returns the sound this much later
CONTACT_WIDTH_M = 0.04
TREAD_KG = 0.08  # mass of the tread that moves with a contact
# Radiation: full scale of the microphone per unit of excitation.
ROLLING, GRAINS, BLADES, SCRUB, PANEL, CHASSIS, MOTOR, WIND, FLOOR = 0.06, 540.0, 0.03, 0.0044, 0.064, 8e-7, 1.8e-3, 1.2, 8e-4


class Microphone:
    """Computes int16 samples from rows of the physics; call `samples` with consecutive blocks of the same length."""

    def __init__(self, world: World, nuisances: Nuisances, rng: np.random.Generator):
        self._world, self._rng, self._wind = world, rng, nuisances.wind
        self._frequency = np.fft.rfftfreq(_FFT, 1 / RATE_HZ)
        self._tail = np.zeros(_FFT)
        self._last_load: np.ndarray | None = None  # wheel loads just before the block (4,)
        self._gain = 10 ** (rng.uniform(2, 10) / 20)
        self._phase = rng.uniform(0, 2 * np.pi, 4)
        self._teeth = int(rng.integers(9, 15))
        self._whine = rng.uniform(0.4, 1.0, 4) / np.arange(1, 5)
        chassis = rng.uniform(0.85, 1.15, 3) * [85, 160, 310]
        self._chassis = sum(_resonance(self._frequency, f, 0.12) for f in chassis)
        self._gust, self._gust_s = 0.0, 0.4
        self._wind_tail: np.ndarray | None = None  # wind noise that continues from the last block

    def samples(self, rows: np.ndarray) -> np.ndarray:
        """Sound of a block of rows (n, COLUMNS), starting LEAD_SAMPLES before the block: int16 (n * STEP_SAMPLES,)."""
        if len(rows) * STEP_SAMPLES > _FFT // 2:
            raise ValueError(f"a block of {len(rows)} rows: expected at most {_FFT // 2 // STEP_SAMPLES}")
        position, rolling, slip = wheel_motion(rows)
        under = self._world.patch_at(position[..., 0], position[..., 1])
        load = rows[:, LOAD]
        before = load[:1] if self._last_load is None else self._last_load[None]
        change = np.diff(np.concatenate([before, load]), axis=0) / STEP_S  # [N/s]
        self._last_load = load[-1]
        spectrum = np.zeros(_FFT // 2 + 1, complex)
        for patch in np.unique(under):
            touching = (under == patch) & (load > 0)
            spectrum += self._ground_spectrum(self._world.patches[patch].ground, touching, load, change, rolling, slip)
        spectrum += CHASSIS * self._spectrum(change.sum(axis=1)) * self._chassis
        count = len(rows) * STEP_SAMPLES
        sound = np.fft.irfft(spectrum, _FFT)
        sound[:count] += self._motors(rows)
        sound = np.roll(sound, LEAD_SAMPLES) + self._tail
        self._tail = np.concatenate([sound[count:], np.zeros(count)])
        sound = sound[:count] + self._wind_noise(count) + FLOOR * self._rng.standard_normal(count)
        return (np.clip(sound * self._gain, -1, 1) * 32767).astype(np.int16)

    def _ground_spectrum(
        self, ground: Ground, touching: np.ndarray, load: np.ndarray, change: np.ndarray, rolling: np.ndarray, slip: np.ndarray
    ) -> np.ndarray:
        """Spectrum of the sound of one patch and the wheels on it."""
        f, rubbing = self._frequency, 0.12 * rolling + slip
        mean_speed = max(float(rolling[touching].mean()) if touching.any() else 0.0, 0.05)
        press = np.sqrt(np.maximum(load, 0) / 50.0)
        # A soft ground yields to the texture instead of shaking the tyre.
        hard = wheel_stiffness(ground) / (1e3 * TYRE_STIFFNESS_KN_M)
        contact_s = np.pi * np.sqrt(TREAD_KG / wheel_stiffness(ground))  # half a period of the tread on its spring
        # Rolling: the wavelengths of the texture pass at the rolling speed.
        centre = mean_speed / (ground.texture_wavelength_mm * 1e-3)
        band = np.exp(-0.5 * (np.log(np.maximum(f, 1) / centre) / 0.9) ** 2)
        total = self._noise((touching * rolling * press).sum(axis=1) * ROLLING * ground.texture_mm * hard, band)
        # Scrubbing: rubber slips and grips again; the smoother the ground, the higher the sound.
        squeak = 500 + 900 * np.exp(-ground.texture_mm / 0.5)
        total = total + self._noise(
            (touching * slip * np.maximum(load, 0)).sum(axis=1) * SCRUB * ground.friction * hard, _resonance(f, squeak, 0.5)
        )
        total = total + self._grains(ground, touching, rubbing)
        if ground.blade_m > 0:  # thin rods flicked aside: broadband, high, and quieter if they are short
            total = total + self._noise(
                (touching * (rolling + 2 * slip) ** 1.5).sum(axis=1) * BLADES * np.sqrt(ground.blade_m),
                np.exp(-0.5 * (np.log(np.maximum(f, 1) / 2600) / 0.8) ** 2),
            )
        # Knocks: the change of the load, and the shorter the contact, the sharper.
        knock = self._spectrum((touching * change).sum(axis=1)) / (1 + (2 * f * contact_s) ** 2)
        total = total + 0.25 * CHASSIS * knock * (f / 200) / (1 + f / 800)
        if ground.panel_thickness_mm > 0:
            total = total + self._panel(
                ground, knock + self._noise((touching * rolling * press).sum(axis=1) * 1500 * ground.texture_mm, band)
            )
        return total

    def _grains(self, ground: Ground, touching: np.ndarray, rubbing: np.ndarray) -> np.ndarray:
        """Impacts between the loose grains that are rolled over or pushed; each lasts as long as a Hertzian contact."""
        size_m, f = ground.grain_mm * 1e-3, self._frequency
        rate = (touching * rubbing).sum(axis=1) * CONTACT_WIDTH_M * ground.grain_cover / size_m**2  # [1/s] per step
        speed = max(float(rubbing[touching].mean()) if touching.any() else 0.0, 0.01)
        mass = 2600 * np.pi / 6 * size_m**3
        contact_s = 2.87 * (mass**2 / (size_m / 4 * (2.5e10) ** 2 * speed)) ** 0.2
        # The pressure follows the change of the force: it rises with frequency up to the inverse of the contact time.
        shape = (f / 4000) / (1 + (2 * f * contact_s) ** 3)
        strength = GRAINS * (mass / 1e-3) ** (2 / 3) * speed * 0.01
        expected = rate * STEP_S
        if expected.sum() > 4000:  # too many to be heard one by one
            return self._noise(np.sqrt(expected / STEP_SAMPLES) * strength, shape)
        at = np.repeat(np.arange(len(expected)), self._rng.poisson(expected)) * STEP_SAMPLES
        at = at + self._rng.integers(0, STEP_SAMPLES, len(at))
        hit = np.bincount(
            at,
            strength * self._rng.lognormal(-0.5, 1.0, len(at)) * self._rng.choice([-1, 1], len(at)),
            minlength=len(expected) * STEP_SAMPLES,
        )
        return np.fft.rfft(hit, _FFT) * shape

    def _panel(self, ground: Ground, force: np.ndarray) -> np.ndarray:
        """First two bending modes of a beam on two supports: f = pi h / (2 sqrt(12) L^2) sqrt(E / rho)."""
        thickness = ground.panel_thickness_mm * 1e-3
        wave = np.sqrt(ground.panel_modulus_gpa * 1e9 / ground.panel_density)
        first = np.pi * thickness / (2 * np.sqrt(12) * ground.panel_span_m**2) * wave
        mass = ground.panel_density * thickness * ground.panel_span_m**2
        modes = _resonance(self._frequency, first, ground.panel_loss) + 0.5 * _resonance(
            self._frequency, 4 * first, ground.panel_loss
        )
        return PANEL / 1e3 * ground.panel_free / mass * force * modes

    def _spectrum(self, per_step: np.ndarray) -> np.ndarray:
        """Spectrum of a signal with one value per physics step, interpolated linearly."""
        return np.fft.rfft(self._upsampled(per_step), _FFT)

    def _noise(self, strength: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Spectrum of noise whose strength (one value per physics step) changes in time, coloured by ``shape``."""
        if not strength.any():
            return np.zeros(len(shape))
        envelope = self._upsampled(strength)
        return np.fft.rfft(envelope * self._rng.standard_normal(len(envelope)), _FFT) * shape

    @staticmethod
    def _upsampled(per_step: np.ndarray) -> np.ndarray:
        count = len(per_step) * STEP_SAMPLES
        return np.interp(np.arange(count), (np.arange(len(per_step)) + 0.5) * STEP_SAMPLES, per_step)

    def _motors(self, rows: np.ndarray) -> np.ndarray:
        """Gears: harmonics of the tooth frequency, louder under load."""
        total = np.zeros(len(rows) * STEP_SAMPLES)
        for wheel in range(4):
            speed = self._upsampled(rows[:, WHEEL_SPEED][:, wheel]) * GEAR_RATIO
            phase = self._phase[wheel] + np.cumsum(speed) / RATE_HZ
            self._phase[wheel] = phase[-1] % (2 * np.pi)
            strength = MOTOR * (1 + self._upsampled(np.abs(rows[:, TORQUE][:, wheel])))
            for harmonic, share in enumerate(self._whine, 1):
                total = total + strength * share * np.sin(harmonic * self._teeth * phase)
        return total

    def _wind_noise(self, count: int) -> np.ndarray:
        """Wind: turbulence at the microphone that falls with frequency, in gusts of about a second."""
        block_s = count / RATE_HZ
        keep = np.exp(-block_s / self._gust_s)
        previous, self._gust = self._gust, keep * self._gust + np.sqrt(1 - keep**2) * float(self._rng.standard_normal())
        strength = WIND * self._wind**2 * np.exp(0.6 * np.linspace(previous, self._gust, count))
        shape = 1 / (1 + (np.fft.rfftfreq(2 * count, 1 / RATE_HZ) / 90) ** 1.15)
        noise = np.fft.irfft(np.fft.rfft(self._rng.standard_normal(2 * count)) * shape, 2 * count)
        fade = np.sin(np.linspace(0, np.pi / 2, count))  # crossfade from the noise of the last block at equal power
        blended = fade * noise[:count] + np.sqrt(1 - fade**2) * (noise[:count] if self._wind_tail is None else self._wind_tail)
        self._wind_tail = noise[count:]
        return strength * blended


def _resonance(frequency: np.ndarray, centre_hz: float, loss: float) -> np.ndarray:
    """Response of a damped oscillator: 1 / loss at its centre frequency, 0 at 0 Hz."""
    ratio = frequency / centre_hz
    return 1j * ratio / (1 - ratio**2 + 1j * loss * ratio)
