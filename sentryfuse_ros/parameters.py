"""Every parameter of the fuser in one table: name, default, range and meaning.

`nodes/declare.py` declares these parameters, so `ros2 param describe` shows their texts; `config/fuse.yaml` documents them, and a
test compares the two; `settings.py` builds checked settings from their values.
"""

from __future__ import annotations

import math

from .parameter import Parameter
from .sensor_kinds import RECEIVABLE_KINDS, sensor_kinds

MOST_THREADS = 64  # of one inference

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "model",
        "ground_robot",
        "Checkpoint to run: a folder, a .safetensors file, or the name of a folder in the package's models/.",
    ),
    Parameter(
        "model_roots",
        "",
        "Folders below which `model` may lie when it is changed after the start of the node, separated by colons. The shipped "
        "models and the model that was given at the start are always allowed; / allows everything. It can only be given at the "
        "start.",
        fixed=True,
    ),
    Parameter(
        "sensors",
        tuple(kind.name for kind in sensor_kinds() if kind.decoders),
        "Names of the sensor instances. Each has a block of parameters of its own below its name.",
    ),
    Parameter("fuse_rate_hz", 10.0, "Number of predictions per second [Hz].", 0.2, 100.0),
    Parameter(
        "poll_rate_hz",
        30.0,
        "How often waiting messages are taken from the middleware [Hz]. Rounded up to a multiple of fuse_rate_hz. While no "
        "sensor needs it, they are taken only for predictions.",
        1.0,
        1000.0,
    ),
    Parameter(
        "device",
        "cpu",
        "Where the model runs. auto uses CUDA if it is available and the CPU otherwise.",
        choices=("cpu", "cuda", "auto"),
    ),
    Parameter(
        "backend",
        "auto",
        "Which library runs the model. auto measures those that can run it, in another process and once per model and machine, "
        "and takes the fastest; with warm_up false it does not measure, and takes ONNX Runtime if it can.",
        choices=("auto", "onnxruntime", "torch"),
    ),
    Parameter(
        "budget",
        "time",
        "What a pruning ratio is a share of. time: the measured time of one inference on this machine (docs/POWER.md). flops: "
        "the FLOPs of the fusion network, without its tokenisers.",
        choices=("time", "flops"),
    ),
    Parameter(
        "accuracy_loss_limit",
        0.1,
        "With budget time, the accuracy on the validation recordings that a plan may lose against all live sensors without "
        "pruning. A plan that loses more is not used, even if less time is then saved than the ratio asks for.",
        0.0,
        1.0,
    ),
    Parameter(
        "hold_pictures",
        True,
        "With budget time, whether a plan may take a new picture of a camera or LiDAR only twice a second, so that most "
        "predictions cost less (docs/POWER.md). Set it to false where the scene changes faster.",
    ),
    Parameter(
        "hold_pictures_from_ratio",
        0.5,
        "Pruning ratio from which on pictures are held wherever that costs little accuracy, because only this saves what "
        "receiving them costs. At lower ratios, and with 1 at all of them, they are held only if no other plan is as accurate.",
        0.0,
        1.0,
    ),
    Parameter(
        "streaming",
        "auto",
        "Whether only the changed parts of a camera's pictures are encoded (docs/STREAMING.md). The model needs a patch "
        "encoder and ONNX Runtime. auto does it if the model says so, on with every model that can.",
        choices=("auto", "on", "off"),
    ),
    Parameter("inference_threads", 1, "Number of CPU threads that one inference uses.", 1, MOST_THREADS),
    Parameter("output_frame_id", "base_link", "frame_id in the header of the published messages."),
    Parameter(
        "captions",
        False,
        "Whether the node publishes captions on ~/caption, sentences that say what it perceives (docs/CAPTIONS.md). The model "
        "needs a caption head.",
    ),
    Parameter("caption_rate_hz", 0.5, "Largest number of captions per second [Hz].", 0.01, 10.0),
    Parameter(
        "autostart",
        True,
        "Whether the node configures and activates itself when it starts. It can only be given at the start.",
        fixed=True,
    ),
    Parameter(
        "autostart_retry_s",
        0.0,
        "Time after which the node tries again if it could not configure or activate itself, for instance because the model "
        "is on a drive that is mounted late [s]. 0 means that it does not try again. It can only be given at the start.",
        0.0,
        3600.0,
        fixed=True,
    ),
    Parameter(
        "receive",
        "auto",
        "How messages are received. raw takes serialised messages at every poll, callback uses ordinary rclpy callbacks, "
        "and auto uses raw if this rclpy supports it.",
        choices=("auto", "raw", "callback"),
    ),
    Parameter(
        "cpu_priority",
        "auto",
        "What the active node asks the scheduler for. auto asks for a real-time policy or else for a lower nice value, as far "
        "as this machine allows it (docs/PERFORMANCE.md); ordinary asks for nothing.",
        choices=("auto", "ordinary"),
    ),
    Parameter("diagnostics_rate_hz", 1.0, "Rate at which /diagnostics is published [Hz].", 0.1, 10.0),
    Parameter(
        "pruning_ratio_override",
        -1.0,
        "Fixed pruning ratio from 0 to 0.9. With -1 the battery, the power budget and the latency decide.",
        -1.0,
        0.9,
        dynamic=True,
    ),
    Parameter(
        "warm_up",
        True,
        "Whether the plans that the next change of ratio or sensors may need are built ahead of it: at configure for all "
        "sensors, and after a change between two predictions. Other plans are built when they are first needed, which takes "
        "some milliseconds.",
    ),
    Parameter("battery_topic", "battery_state", "Topic of the sensor_msgs/BatteryState messages."),
    Parameter(
        "power_budget_topic", "power_budget", "Topic of the std_msgs/Float32 messages with the power that the model may draw [W]."
    ),
    Parameter(
        "battery_scale",
        "auto",
        "Full scale of BatteryState.percentage: fraction counts to 1, percent to 100. auto accepts drivers of both kinds.",
        choices=("auto", "fraction", "percent"),
    ),
    Parameter(
        "battery_timeout_s",
        30.0,
        "A battery that is silent for longer than this is reported [s]. Its last value stays in force.",
        0.1,
        3600.0,
        dynamic=True,
    ),
    Parameter(
        "battery_curve_percent",
        (10.0, 20.0, 50.0, 80.0),
        "Charge levels at which battery_curve_ratio gives the pruning ratio [%].",
        0.0,
        100.0,
    ),
    Parameter(
        "battery_curve_ratio",
        (0.9, 0.7, 0.3, 0.0),
        "Pruning ratio at each level of battery_curve_percent, linear between the levels and constant outside them.",
        0.0,
        0.9,
    ),
    Parameter(
        "battery_hysteresis_percent",
        3.0,
        "Hysteresis: the charge must exceed the switching point by this much before the ratio drops [%].",
        0.0,
        20.0,
    ),
    Parameter(
        "battery_critical_percent",
        10.0,
        "At or below this charge the highest ratio applies at once, without waiting for dwell_s [%].",
        0.0,
        100.0,
    ),
    Parameter("charging_ratio", 0.0, "Pruning ratio while the battery is charging.", 0.0, 0.9),
    Parameter(
        "dwell_s",
        2.0,
        "Shortest time between two changes of the ratio [s].",
        0.0,
        600.0,
        dynamic=True,
    ),
    Parameter(
        "power_measurement",
        "none",
        "Where the power that the budget limits is measured. battery takes voltage times current of the battery messages, "
        "hwmon and rapl read a power sensor of this computer. With none, the ratio follows the budget by power_budget_min_w "
        "and power_budget_max_w.",
        choices=("none", "battery", "hwmon", "rapl"),
    ),
    Parameter(
        "power_rail",
        "",
        "Label of the power sensor that power_measurement reads, for example VDD_IN on a Jetson. If empty, the first one.",
    ),
    Parameter("power_budget_min_w", 5.0, "Power budget at or below which the ratio is highest [W].", 0.0, 10000.0),
    Parameter("power_budget_max_w", 15.0, "Power budget at or above which nothing is pruned [W].", 0.0, 10000.0),
    Parameter(
        "latency_target_ms",
        0.0,
        "The ratio is raised while the 95th percentile of the inference time exceeds this [ms]. 0 switches this off.",
        0.0,
        10000.0,
        dynamic=True,
    ),
)
# A sensor also has `limits.<name>`: numbers for its decoder, listed in docs/LIVENESS.md and config/fuse.yaml.
SENSOR_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("kind", next(iter(RECEIVABLE_KINDS)), "Kind of the sensor.", choices=RECEIVABLE_KINDS),
    Parameter(
        "topic",
        "",
        "Topic of the messages. If empty, the instance's name is used, or the kind's usual topic if the instance bears the "
        "kind's name. Namespaces and remapping apply.",
    ),
    Parameter("type", "", "Message type. If empty, the kind's usual type is expected; a series has none, so it must be given."),
    Parameter(
        "fields",
        (),
        "The numbers that a sensor of kind series reads of each message, as paths such as twist.twist.linear.x, effort[0:4] or "
        "wrench.force.* (docs/SERIES.md). Together they are the channels of the model input.",
    ),
    Parameter(
        "field_min",
        (-math.inf,),
        "Smallest value that is believed, in the unit of the message: one number for all fields, or one for each.",
    ),
    Parameter(
        "field_max",
        (math.inf,),
        "Greatest value that is believed, in the unit of the message: one number for all fields, or one for each.",
    ),
    Parameter(
        "model_input",
        "",
        "Model input that the sensor serves. If empty, the input of the instance's name. If several sensors serve one input, "
        "the first live one in the order of `sensors` is used, unless they have the parameter part.",
    ),
    Parameter(
        "part",
        0,
        "Place of the sensor's fields among the channels of its model input, where several sensors of kind series make it up "
        "together: 1 for the first, 2 for the next (docs/SERIES.md). The input is live when all of them are. 0 means that the "
        "sensor serves the whole input.",
        0,
        64,
    ),
    Parameter(
        "motion_sensor",
        "",
        "Name of an IMU that is fixed to the same body as this camera and whose gyro has hardly any bias, or of a series with "
        "the twist of its odometry (twist.twist.linear.x, twist.twist.angular.z). If the camera is streamed, that sensor says "
        "whether the camera moves; otherwise this is estimated from the pictures (docs/STREAMING.md).",
    ),
    Parameter(
        "expected_rate_hz", 0.0, "Rate at which the sensor should send [Hz]. 0 means that the rate is measured.", 0.0, 10000.0
    ),
    Parameter(
        "timeout_s",
        0.0,
        "The sensor is STALE after a silence of this length [s]. 0 means three periods, but at least 0.2 s.",
        0.0,
        3600.0,
    ),
    Parameter("max_latency_s", 1.0, "Messages that arrive longer than this after their stamp are LATE [s].", 0.001, 3600.0),
    Parameter(
        "future_tolerance_s", 0.2, "Stamps that are ahead of the node's clock by more than this are invalid [s].", 0.0, 3600.0
    ),
    Parameter(
        "backward_tolerance_s",
        0.05,
        "Stamps that are behind the sensor's newest stamp by more than this are invalid [s].",
        0.0,
        3600.0,
    ),
    Parameter(
        "trust_stamps",
        True,
        "Whether header stamps are used. With false every message is stamped with its time of arrival, for drivers that do not "
        "stamp.",
    ),
    Parameter(
        "frozen_samples", 10, "The sensor is FROZEN after this many equal payloads in a row, at least 2; 0 means never.", 0, 10000
    ),
    Parameter("invalid_samples", 3, "The sensor is INVALID or LATE after this many bad messages in a row.", 1, 10000),
    Parameter("good_samples", 3, "The sensor is OK again after this many good messages in a row.", 1, 10000),
    Parameter("grace_s", 5.0, "A sensor that has not come up raises no alarm for this long after the start [s].", 0.0, 3600.0),
    Parameter("required", False, "Whether the sensor raises an alarm even if it never came up."),
    Parameter(
        "trust",
        "mask",
        "What happens if the sensor sends plausible bytes with implausible content, where the checkpoint knows what its data "
        "should look like (docs/TRUST.md). mask clears its bit, warn only says so, and off does not judge it.",
        choices=("off", "warn", "mask"),
    ),
    Parameter(
        "may_switch_off",
        False,
        "Whether the driver is asked to stop the sensor while the plan in force leaves it out (docs/POWER.md).",
    ),
    Parameter(
        "driver_node",
        "",
        "Managed (lifecycle) node of the driver, which is deactivated and activated. If empty, ~/sensor_request alone asks it.",
    ),
    Parameter(
        "wake_up_s",
        5.0,
        "Time that the sensor may take from the request to start until it is OK [s]; an alarm is raised if it takes longer.",
        0.0,
        600.0,
    ),
    Parameter(
        "switch_off_after_s",
        10.0,
        "The sensor is switched off after the plan has left it out for this long, but not before wake_up_s [s].",
        0.0,
        3600.0,
    ),
    Parameter(
        "reliability",
        "auto",
        "QoS reliability. auto starts with best effort and changes to reliable once every publisher offers it.",
        choices=("auto", "reliable", "best_effort"),
    ),
    Parameter(
        "queue_depth",
        0,
        "QoS queue depth. 0 means the kind's usual depth: "
        + ", ".join(f"{kind.queue_depth} for {kind.name}" for kind in sensor_kinds() if kind.receivable)
        + ".",
        0,
        10000,
    ),
)
