@echo off
rem Copies topics from one cluster into another.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.MirrorMaker %*
