"""Suites of tasks, their demonstrations, and the files that hold data and results.

An observation is a dict of numpy arrays with LIBERO's names:

    agentview_rgb    uint8 (H, W, 3)   as rendered: upside down for people, never flipped
    eye_in_hand_rgb  uint8 (H, W, 3)
    joint_states     float32 (7,) [rad]
    gripper_states   float32 (2,) [m]

An action is float32 (7,) in [-1, 1] for robosuite's OSC_POSE: position delta, axis-angle delta,
gripper (-1 opens, +1 closes).

A demonstration pairs each action with the observation before it if it is scripted, as a rollout does, and with the
observation after it if it is LIBERO's own. Its manifest says which.
"""
