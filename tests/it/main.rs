mod cli;
mod client;
