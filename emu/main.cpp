// The program: everything is in emu/cli.cpp.
#include "emu/cli.h"

int main(int argc, char** argv) { return nestwalk::emu::main(argc, argv, NESTWALK_VERSION); }
