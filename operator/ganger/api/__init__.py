"""What a job is: typed values, their defaults, their validation and their schema. No behaviour outside themselves."""
