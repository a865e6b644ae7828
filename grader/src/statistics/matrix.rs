//! The inverse of a small symmetric positive definite matrix, by Cholesky's method.

/// A square matrix, row by row.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    n: usize,
    cells: Vec<f64>,
}

impl Matrix {
    pub(super) fn zero(n: usize) -> Self {
        Self {
            n,
            cells: vec![0.0; n * n],
        }
    }

    pub(super) fn get(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.n + column]
    }

    pub(super) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.cells[row * self.n + column] += value;
    }

    /// Returns the inverse; none unless the matrix is positive definite. Only the lower half is read.
    pub(super) fn inverse(&self) -> Option<Self> {
        let lower = self.cholesky()?;
        let mut inverse = Self::zero(self.n);
        for column in 0..self.n {
            let solution = lower.solve(column);
            for (row, value) in solution.into_iter().enumerate() {
                inverse.add(row, column, value);
            }
        }
        Some(inverse)
    }

    fn cholesky(&self) -> Option<Self> {
        let mut lower = Self::zero(self.n);
        for row in 0..self.n {
            for column in 0..=row {
                let known: f64 = (0..column)
                    .map(|at| lower.get(row, at) * lower.get(column, at))
                    .sum();
                let rest = self.get(row, column) - known;
                if row > column {
                    lower.add(row, column, rest / lower.get(column, column));
                } else if rest > 0.0 {
                    lower.add(row, row, rest.sqrt());
                } else {
                    return None;
                }
            }
        }
        Some(lower)
    }

    /// Solves L Lᵀ x = e for a unit vector e.
    fn solve(&self, unit: usize) -> Vec<f64> {
        let mut x = vec![0.0; self.n];
        for row in unit..self.n {
            let known: f64 = (unit..row).map(|at| self.get(row, at) * x[at]).sum();
            x[row] = (f64::from(u8::from(row == unit)) - known) / self.get(row, row);
        }
        for row in (0..self.n).rev() {
            let known: f64 = (row + 1..self.n).map(|at| self.get(at, row) * x[at]).sum();
            x[row] = (x[row] - known) / self.get(row, row);
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let mut matrix = Matrix::zero(3);
        for row in 0..3 {
            for column in 0..3 {
                matrix.add(row, column, 1.0 / (row + column + 1) as f64);
            }
        }
        let inverse = matrix.inverse().unwrap();
        for row in 0..3 {
            for column in 0..3 {
                let cell: f64 = (0..3)
                    .map(|at| matrix.get(row, at) * inverse.get(at, column))
                    .sum();
                assert!((cell - f64::from(u8::from(row == column))).abs() < 1e-9);
            }
        }
        matrix.add(2, 2, -1.0);
        assert!(matrix.inverse().is_none(), "it is not positive definite");
    }
}
