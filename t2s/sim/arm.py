"""Steps robosuite's Panda under its OSC_POSE controller, and skips the computations whose results are unused."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float64
from robosuite.utils.control_utils import nullspace_torques, opspace_matrices, orientation_error


class Arm:
    """Steps the simulation by one control period, with the results of robosuite's `env.step` up to rounding.

    robosuite runs the dynamics three times per substep and updates buffers and observables. This class runs the
    dynamics once; the controller reads the state between MuJoCo's two half steps.
    """

    def __init__(self, env: Any) -> None:
        """`env`: a robosuite environment with one arm, freshly reset."""
        self._model, self._data = env.sim.model._model, env.sim.data._data
        robot = env.robots[0]
        self._controller, self._gripper = robot.controller, robot.gripper
        self._site = self._model.site(self._controller.eef_name).id
        self._qpos = np.array(self._controller.qpos_index)
        first, *_, last = self._controller.qvel_index
        self._qvel = slice(first, last + 1)
        self._low, self._high = robot.torque_limits
        self._motors = np.array(robot._ref_joint_actuator_indexes)
        self._fingers = np.array([self._model.actuator(name).id for name in self._gripper.actuators])
        fingers_range = self._model.actuator_ctrlrange[self._fingers]
        self._fingers_mean, self._fingers_half = (
            fingers_range.mean(axis=1),
            np.ptp(fingers_range, axis=1) / 2,
        )
        self._n_substeps = round(env.control_timestep / self._model.opt.timestep)
        self._jacobian = np.zeros((6, self._model.nv))
        self._mass = np.zeros((self._model.nv, self._model.nv))

    def step(self, action: np.ndarray) -> None:
        """Advance one control period, then compute positions and contacts for the new state."""
        model, data = self._model, self._data
        # A substep moves the goal of the fingers, in [-1, 1], as `PandaGripper.format_action`.
        fingers, moved = self._gripper.current_action, np.array([-1.0, 1.0]) * self._gripper.speed * np.sign(action[6:])
        for substep in range(self._n_substeps):
            mujoco.mj_step1(model, data)
            # On the first substep after a reset, robosuite's controller still uses the state it read at the reset, even
            # if another state was set since. LIBERO's episodes start this way.
            if self._controller.new_update:
                self._sense()
            if substep == 0:
                self._controller.set_goal(action[:6])
            data.ctrl[self._motors] = np.minimum(np.maximum(self._torques(), self._low), self._high)
            fingers = np.minimum(np.maximum(fingers + moved, -1.0), 1.0)
            data.ctrl[self._fingers] = self._fingers_mean + self._fingers_half * fingers
            mujoco.mj_step2(model, data)
        self._gripper.current_action = fingers
        mujoco.mj_fwdPosition(model, data)

    def _sense(self) -> None:
        """Refresh what `Controller.update` refreshes, without its call of `sim.forward`."""
        model, data, controller = self._model, self._data, self._controller
        jacobian, mass = self._jacobian, self._mass
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], self._site)
        mujoco.mj_fullM(model, mass, data.qM)
        velocity = jacobian @ data.qvel
        controller.ee_pos = data.site_xpos[self._site].copy()
        controller.ee_ori_mat = data.site_xmat[self._site].reshape(3, 3).copy()
        controller.ee_pos_vel, controller.ee_ori_vel = velocity[:3], velocity[3:]
        controller.joint_pos, controller.joint_vel = data.qpos[self._qpos], data.qvel[self._qvel].copy()
        controller.J_full = jacobian[:, self._qvel].copy()  # numba compiles once per memory layout
        controller.J_pos, controller.J_ori = controller.J_full[:3], controller.J_full[3:]
        controller.mass_matrix = mass[self._qvel, self._qvel].copy()
        controller.new_update = False  # otherwise set_goal calls sim.forward

    def _torques(self) -> Float64[np.ndarray, "7"]:
        """The torques [Nm] that `run_controller` gives, bit for bit, without its copies.

        Source: robosuite 1.4.0, `OperationalSpaceController` with fixed impedance, decoupled, without interpolators.
        """
        c = self._controller
        c.new_update = True
        _, lambda_pos, lambda_ori, nullspace = opspace_matrices(c.mass_matrix, c.J_full, c.J_pos, c.J_ori)
        turned = orientation_error(c.goal_ori, c.ee_ori_mat)
        force = (c.goal_pos - c.ee_pos) * c.kp[:3] - c.ee_pos_vel * c.kd[:3]
        torque = turned * c.kp[3:] - c.ee_ori_vel * c.kd[3:]
        wrench = np.concatenate([lambda_pos @ force, lambda_ori @ torque])
        kept = nullspace_torques(c.mass_matrix, nullspace, c.initial_joint, c.joint_pos, c.joint_vel)
        torques: np.ndarray = c.J_full.T @ wrench + self._data.qfrc_bias[self._qvel] + kept
        return torques
