export * from './labels'
export * from './linear'
export * from './transfer'
export * from './homomorphic'
