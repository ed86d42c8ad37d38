package atomicfile

const gently = 0 // a folder holds no pipe there
