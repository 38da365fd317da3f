"""What a GPU gives, in one command of under ten minutes, for `python -m benchmarks gpu`.

`run` gives each part its share of the time, in a process of its own that prints a row per point:

    plan      what is measured on a GPU, and the small form for a CPU
    budget    whose turn it is, and for how long
    cublas    cuBLAS 13 under the name of cuBLAS 12, where CTranslate2 would find neither
    engine    the model in process: batches, number types, workers, starts
    features  log-mel features on the CPU and on the GPU
    peer      transformers on the same GPU
    reading   what came of a load, the bars, the figure
    graph     the whole graph over HTTP, and a long file
    part      the program that runs one part
"""
