"""What the checks ask of a trace, each question answered in one place.

| question | module |
|---|---|
| which steps, events, names and lines are there; what ended the script | `index` |
| who wrote to this tensor, and with which op | `writes` |
| what was it made of, and does it reach that | `dataflow`; across steps `ancestry` |
| where does the way of a gradient end, and which line did it | `gradient_cuts`, `grad_modes` |
| what became of each gradient; who read one that is not there | `grad_lifetimes`, `grad_reads` |
| who owns each parameter since when, and is it trained | `parameters` |
| which model ran in which mode, and what for | `model_runs` |
| what did a step take over from earlier ones | `step_links` |
| which line keeps a value beyond its step | `keepers` |
| what do the statistics say; why does an op give NaN | `statistics`, `nan_causes` |
| what does torch's error mean; what was an op given | `torch_errors`, `arguments` |
| what does an op do | `model.op_kinds`, which other readers ask, too |
| how is it said | `wording` |

A matched step stands for one that was watched: what holds of its template holds of it. Of a light one there are
numbers, backwards, updates, clearings and switches; that no op was seen in it says nothing.
"""
