@echo off
rem Says what is wrong with log directories and what the next start would do about it. Changes nothing.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka-check %*
