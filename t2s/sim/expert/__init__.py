"""The scripted expert: skills plan waypoints from privileged simulator state, and a controller follows them."""
