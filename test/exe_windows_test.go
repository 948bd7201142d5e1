package test

const exe = ".exe"
