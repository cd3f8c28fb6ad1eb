"""What a program runs in: versions, devices, the job that it is one process of."""
