"""GGUF, the file of llama.cpp and Ollama: written and read. Read next: `write`."""
