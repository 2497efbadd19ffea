"""The ground classes as ranges of physical parameters. Sensors never see a class, only the `Ground` of a patch.

The ranges are wide and overlap on purpose: dark dry gravel reflects like worn asphalt, and a loose plank floor shakes
like badly laid pavement. Their orders of magnitude are those of textbooks; docs/SIMULATION.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

CLASSES = ("asphalt", "gravel", "grass", "sand", "tiles", "wood")


@dataclass(frozen=True)
class Ground:
    """The parameters of one patch of ground."""

    friction: float  # sliding friction against rubber
    rolling_resistance: float  # resisting force divided by the load
    stiffness_kn_m: float  # under one wheel; in series with the tyre
    damping_ratio: float  # of a wheel that bounces on it
    undulation_mm: float  # rms of the relief at wavelengths about a metre
    roughness_mm: float  # rms of the relief at roughness_length_m
    roughness_length_m: float  # correlation length of the roughness
    ripple_mm: float  # amplitude of parallel ripples, 0.15 to 0.3 m apart
    joint_pitch_m: float  # width of slabs or planks; 0 if there are none
    joint_depth_mm: float  # how far a wheel drops into a joint
    lippage_mm: float  # rms height difference of neighbouring slabs or planks
    texture_mm: float  # rms of the surface texture that is too fine to move a wheel
    texture_wavelength_mm: float  # of that texture
    grain_mm: float  # size of loose grains
    grain_cover: float  # share of the surface covered by loose grains
    blade_m: float  # height of vegetation
    panel_thickness_mm: float  # of slabs or planks that can ring; 0 if there are none
    panel_span_m: float  # between supports
    panel_modulus_gpa: float  # Young's modulus
    panel_density: float  # [kg/m^3]
    panel_free: float  # share of the panel that is not bedded and can ring
    panel_loss: float  # loss factor of its resonances
    nir_reflectance: float  # diffuse reflectance at the wavelength of the LiDAR
    gloss: float  # specular share of visible light


_NO_PANEL = dict(
    panel_thickness_mm=(0, 0),
    panel_span_m=(0, 0),
    panel_modulus_gpa=(0, 0),
    panel_density=(0, 0),
    panel_free=(0, 0),
    panel_loss=(0, 0),
)
_NO_JOINT = dict(joint_pitch_m=(0, 0), joint_depth_mm=(0, 0), lippage_mm=(0, 0))

RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "asphalt": dict(
        friction=(0.70, 0.95),
        rolling_resistance=(0.010, 0.022),
        stiffness_kn_m=(600, 1500),
        damping_ratio=(0.2, 0.35),
        undulation_mm=(1.5, 4.0),
        roughness_mm=(0.25, 1.1),
        roughness_length_m=(0.04, 0.07),
        ripple_mm=(0, 0),
        texture_mm=(0.5, 1.5),
        texture_wavelength_mm=(5, 16),
        grain_mm=(1.5, 5),
        grain_cover=(0.001, 0.02),
        blade_m=(0, 0),
        nir_reflectance=(0.10, 0.30),
        gloss=(0.0, 0.08),
        **_NO_JOINT,
        **_NO_PANEL,
    ),
    "gravel": dict(
        friction=(0.50, 0.75),
        rolling_resistance=(0.03, 0.09),
        stiffness_kn_m=(60, 200),
        damping_ratio=(0.5, 1.0),
        undulation_mm=(3, 8),
        roughness_mm=(0.8, 3.0),
        roughness_length_m=(0.03, 0.05),
        ripple_mm=(0, 0),
        texture_mm=(1.0, 3.0),
        texture_wavelength_mm=(8, 30),
        grain_mm=(5, 18),
        grain_cover=(0.2, 0.9),
        blade_m=(0, 0),
        nir_reflectance=(0.15, 0.42),
        gloss=(0.0, 0.05),
        **_NO_JOINT,
        **_NO_PANEL,
    ),
    "grass": dict(
        friction=(0.40, 0.70),
        rolling_resistance=(0.05, 0.12),
        stiffness_kn_m=(20, 60),
        damping_ratio=(0.6, 1.1),
        undulation_mm=(4, 12),
        roughness_mm=(1.2, 5.0),
        roughness_length_m=(0.07, 0.14),
        ripple_mm=(0, 0),
        texture_mm=(0.2, 0.8),
        texture_wavelength_mm=(10, 30),
        grain_mm=(0.3, 2),
        grain_cover=(0.005, 0.05),
        blade_m=(0.015, 0.07),
        nir_reflectance=(0.32, 0.62),
        gloss=(0.0, 0.03),
        **_NO_JOINT,
        **_NO_PANEL,
    ),
    "sand": dict(
        friction=(0.40, 0.65),
        rolling_resistance=(0.09, 0.22),
        stiffness_kn_m=(12, 45),
        damping_ratio=(0.8, 1.4),
        undulation_mm=(4, 12),
        roughness_mm=(1.0, 4.5),
        roughness_length_m=(0.08, 0.16),
        ripple_mm=(0, 4),
        texture_mm=(0.1, 0.4),
        texture_wavelength_mm=(1, 3),
        grain_mm=(0.2, 1.2),
        grain_cover=(0.7, 1.0),
        blade_m=(0, 0),
        nir_reflectance=(0.28, 0.55),
        gloss=(0.0, 0.05),
        **_NO_JOINT,
        **_NO_PANEL,
    ),
    "tiles": dict(
        friction=(0.45, 0.80),
        rolling_resistance=(0.008, 0.016),
        stiffness_kn_m=(500, 1500),
        damping_ratio=(0.15, 0.3),
        undulation_mm=(0.5, 2.0),
        roughness_mm=(0.05, 0.2),
        roughness_length_m=(0.04, 0.08),
        ripple_mm=(0, 0),
        joint_pitch_m=(0.18, 0.50),
        joint_depth_mm=(0.2, 1.2),
        lippage_mm=(0.1, 0.8),
        texture_mm=(0.05, 0.5),
        texture_wavelength_mm=(1, 6),
        grain_mm=(0.3, 2),
        grain_cover=(0.0005, 0.01),
        blade_m=(0, 0),
        panel_thickness_mm=(9, 25),
        panel_span_m=(0.16, 0.30),
        panel_modulus_gpa=(30, 60),
        panel_density=(2100, 2500),
        panel_free=(0.05, 0.4),
        panel_loss=(0.02, 0.06),
        nir_reflectance=(0.15, 0.58),
        gloss=(0.05, 0.5),
    ),
    "wood": dict(
        friction=(0.45, 0.75),
        rolling_resistance=(0.012, 0.025),
        stiffness_kn_m=(90, 350),
        damping_ratio=(0.15, 0.35),
        undulation_mm=(0.5, 3.0),
        roughness_mm=(0.1, 0.4),
        roughness_length_m=(0.05, 0.12),
        ripple_mm=(0, 0),
        joint_pitch_m=(0.09, 0.20),
        joint_depth_mm=(0.2, 1.2),
        lippage_mm=(0.1, 0.9),
        texture_mm=(0.1, 0.6),
        texture_wavelength_mm=(2, 8),
        grain_mm=(0.3, 2),
        grain_cover=(0.0005, 0.01),
        blade_m=(0, 0),
        panel_thickness_mm=(20, 40),
        panel_span_m=(0.35, 0.65),
        panel_modulus_gpa=(8, 13),
        panel_density=(450, 700),
        panel_free=(0.2, 1.0),
        panel_loss=(0.03, 0.10),
        nir_reflectance=(0.25, 0.60),
        gloss=(0.0, 0.2),
    ),
}


def draw_ground(name: str, rng: np.random.Generator) -> Ground:
    """Draw one patch of class ``name``: log-uniform over ranges wider than a factor of 3, uniform over the others."""
    ranges, values = RANGES[name], {}
    for parameter in (f.name for f in fields(Ground)):
        low, high = ranges[parameter]
        draw = rng.random()
        wide = low > 0 and high / low > 3
        values[parameter] = float(low * (high / low) ** draw if wide else low + (high - low) * draw)
    return Ground(**values)
