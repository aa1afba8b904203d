"""What touches the kernel: processes, who they are and whose rights they have, files, ports.

Nothing here knows what zenwebserver is for.
"""
