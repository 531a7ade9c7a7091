mod cli;
mod client;
mod readme;
