"""What is known to differ when a program is traced, each with its reason. What holds must go from here."""

DIFFERS: dict[str, str] = {
    "faults/the trace's files are emptied, those that are mapped too": (
        "SQLite has mapped the -shm file; a process that reads where a mapped file ended dies of SIGBUS"
    ),
    "faults/it looks below its own frame": "gradscope's frames are there; inspect, traceback and warnings hide them",
    "faults/it saves TorchScript": (
        "the file's debug part tells the whole stack of the process, and gradscope's own frames are below the program's"
    ),
    **{
        f"settings/{name}": "a function that the program gives to sys.settrace or sys.setprofile sees gradscope's calls"
        for name in ("sys.settrace", "sys.setprofile", "a debugger of bdb", "coverage's API")
    },
    "settings/debugpy listens": "debugpy, which follows all threads, lists the one that writes the trace",
    **{
        f"settings/{name}": "a nest of modules and calls may be one level less deep"
        for name in ("how deep calls go", "how deep calls go with a limit of 400")
    },
    **{
        f"zoo/{name}": "torch takes a number of a grad node when it is asked for a saved tensor that was overwritten"
        for name in ("open/inplace_hidden_buffer", "open/rnn_retain_graph_step", "public/e06_sac_losses_before_steps")
    },
    "faults/torch's functions are replaced": (
        "a variable to which the program assigns torch.Tensor.backward holds gradscope's stand-in, which does the same"
    ),
}

# Facts that differ in every program, by how a difference begins.
FACTS: dict[str, str] = {}


def unforeseen(differences: list[str]) -> list[str]:
    """Those that are not listed here."""
    return [line for line in differences if not line.startswith(tuple(FACTS))]
