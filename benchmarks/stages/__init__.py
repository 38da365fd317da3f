"""What each stage costs, for `python -m benchmarks stages`.

`run` calls these, and nothing else does:

    cost        clocks, rows, the table, and what follows for a cluster
    audio       decode, VAD, diarize, render
    model       features, encode, generate, align
    replicas    processes side by side
    transport   the graph: HTTP, the Ingress and Ray
    figure      the plot
"""
