package atomicfile

const gently = 0 // on Windows no folder contains pipes
