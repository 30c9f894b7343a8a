"""Write a run's settings and figures to what people follow experiments with: TensorBoard's files, or MLflow."""
