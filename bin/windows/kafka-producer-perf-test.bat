@echo off
rem Measures how fast a producer sends.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" org.apache.kafka.tools.ProducerPerformance %*
